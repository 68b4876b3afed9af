"""Identification: what a file of tensors holds, from its header."""
