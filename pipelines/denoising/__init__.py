"""Denoising: trajectories, guidance, and the engine that packs their rows into batches."""
