"""What ships as readable files: how models are shown, their best settings, example sheets."""

from presets.loader import (
    ModelPreset,
    SheetPreset,
    model_preset,
    recommended,
    sheet_presets,
    wildcard_folders,
)

__all__ = [
    "ModelPreset",
    "SheetPreset",
    "model_preset",
    "recommended",
    "sheet_presets",
    "wildcard_folders",
]
