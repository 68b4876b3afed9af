"""Tests of embeddings (textual inversion)."""
