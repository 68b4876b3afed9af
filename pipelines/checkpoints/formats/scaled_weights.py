"""Scaled weights: multiplies weights in 8 bits by the scales that lie beside them.

Math: W = s · Ŵ, with one s for the tensor or one for each of its rows.

Source: comfyanonymous/ComfyUI, `comfy/ops.py` (`scaled_fp8_ops`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints.formats.scale_names import SCALES, scaled_weight
from pipelines.errors import ModelUnavailable

if TYPE_CHECKING:
    from torch import Tensor


def multiplied(tensors: Mapping[str, Tensor], dtype: Any, place: str) -> dict[str, Tensor]:
    """Multiply weights by their scales, which are then gone.

    Args:
        dtype: of the numbers that the model computes with; the product is rounded to it once.
        place: where they come from, for the error.
    Raises: ModelUnavailable: if a scale has no weight, or the weight has other rows.
    """
    made = {name: tensor for name, tensor in tensors.items() if not name.endswith(SCALES)}
    for name in tensors.keys() - made.keys():
        scale, weight = tensors[name].float(), made.get(scaled_weight(name))
        rows = 0 if weight is None or not weight.dim() else len(weight)
        if weight is None or scale.numel() not in (1, rows):
            raise ModelUnavailable(f"{place}: {name!r} scales nothing that is there")
        by_row = scale.reshape(-1, *[1] * (weight.dim() - 1)) if weight.dim() else scale.reshape(())
        made[scaled_weight(name)] = (weight.float() * by_row).to(dtype)
    return made
