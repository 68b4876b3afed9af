"""What ships as readable files: how models are shown, their best settings, examples."""

from presets.loader import (
    ModelPreset,
    SheetPreset,
    hub_models,
    model_preset,
    recommended,
    sheet_presets,
    wildcard_folders,
)
from presets.pictures import ExamplePicture, example_pictures
from presets.styles import Style, find_style, restyled, styles_for

__all__ = [
    "ExamplePicture",
    "ModelPreset",
    "SheetPreset",
    "Style",
    "example_pictures",
    "find_style",
    "hub_models",
    "model_preset",
    "recommended",
    "restyled",
    "sheet_presets",
    "styles_for",
    "wildcard_folders",
]
