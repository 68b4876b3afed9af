"""Timings: what batches and rows take, and how runs and previews share the time."""
