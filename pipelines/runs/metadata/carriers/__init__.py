"""Carriers: where in a picture file the texts of settings stand, and how they are encoded."""
