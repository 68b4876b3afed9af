"""Utilities below everything else: pictures, files, threads and access to the hub."""
