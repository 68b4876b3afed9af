"""Parts of all readers: settings as frozen data, names of settings, JSON within limits."""
