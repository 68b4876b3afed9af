"""Tabs: one file a tab, and what all tabs have."""
