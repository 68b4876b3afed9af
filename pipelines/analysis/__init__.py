"""Analysis: measures finished pictures."""
