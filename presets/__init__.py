"""Presets: reads what ships as files: model settings, styles, example sheets and pictures."""

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
from presets.styles import Style, apply_style, find_style, styles_for

__all__ = [
    "ExamplePicture",
    "ModelPreset",
    "SheetPreset",
    "Style",
    "apply_style",
    "example_pictures",
    "find_style",
    "hub_models",
    "model_preset",
    "recommended",
    "sheet_presets",
    "styles_for",
    "wildcard_folders",
]
