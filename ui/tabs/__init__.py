"""Tabs of the page: one file a tab, and what all tabs have."""
