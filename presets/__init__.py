"""What ships as readable files: how models are shown, their best settings, example sheets."""

from presets.loader import (
    ModelPreset,
    SheetPreset,
    model_preset,
    recommended,
    sheet_presets,
    wildcard_folders,
)
from presets.styles import Style, find_style, restyled, styles_for

__all__ = [
    "ModelPreset",
    "SheetPreset",
    "Style",
    "find_style",
    "model_preset",
    "recommended",
    "restyled",
    "sheet_presets",
    "styles_for",
    "wildcard_folders",
]
