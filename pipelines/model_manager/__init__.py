"""Model manager: components in memory, loaded, cached, offloaded and patched."""
