"""ControlNets of Stable Diffusion XL: told the pooled text and the picture's size as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pipelines.denoising.row import Row
from pipelines.families.base import Model
from pipelines.families.sdxl import StableDiffusionXL
from pipelines.families.unet_controls import UNetControls


class XLControls(UNetControls):
    """ControlNets of SDXL."""

    def _inputs(
        self, model: Model, rows: Sequence[Row]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
        x, t, text, pooled, time_ids = StableDiffusionXL().inputs(model, rows)[:5]
        return x, t, text, {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids}}
