"""What ships as readable files: how models are shown, their best settings, example sheets."""

from presets.loader import (
    ModelPreset,
    SheetPreset,
    hub_models,
    model_preset,
    recommended,
    sheet_presets,
)

__all__ = [
    "ModelPreset",
    "SheetPreset",
    "hub_models",
    "model_preset",
    "recommended",
    "sheet_presets",
]
