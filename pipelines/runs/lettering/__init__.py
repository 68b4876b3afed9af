"""Lettering: sets labels in every script that installed or shipped fonts have."""
