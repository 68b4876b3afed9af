"""Devices: what hardware is here, and how components are placed and stored on it."""
