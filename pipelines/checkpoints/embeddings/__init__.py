"""Embeddings (textual inversion): finds their files, reads them, and knows where they fit."""
