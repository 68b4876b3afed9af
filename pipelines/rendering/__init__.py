"""Rendering: makes the cells of a run, from complete Requests to pictures."""
