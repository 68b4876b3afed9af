"""Runs: sheets being made or already made, their queue, events and files."""
