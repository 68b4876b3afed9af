"""Readable files of models, sizes and examples, and their loader. Imports from pipelines only."""

from presets.loader import ModelPreset, model_preset

__all__ = ["ModelPreset", "model_preset"]
