"""Scale names: how the scales of weights in 8 bits are called, and which weight each is for."""

from __future__ import annotations

SCALES = (".scale_weight", ".weight_scale")
"""How the names of scales end; the rest of the name and `.weight` is what they scale."""


def scaled_weight(scale: str) -> str:
    """Name the weight that a scale is for."""
    return f"{scale.rpartition('.')[0]}.weight"
