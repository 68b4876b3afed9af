"""Detectors: one preprocessor a file, each a function and its registry row."""
