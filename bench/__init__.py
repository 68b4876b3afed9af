"""Measurements, each with the number that shows the result is right."""
