"""Tools that write their settings as a text or as JSON, a file each."""
