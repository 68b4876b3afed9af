"""What ships as readable files: how models are shown, their best settings, examples."""

from presets.loader import (
    ModelPreset,
    SheetPreset,
    hub_models,
    model_preset,
    recommended,
    sheet_presets,
)
from presets.pictures import ExamplePicture, example_pictures

__all__ = [
    "ExamplePicture",
    "ModelPreset",
    "SheetPreset",
    "example_pictures",
    "hub_models",
    "model_preset",
    "recommended",
    "sheet_presets",
]
