"""Embedded maps: turns a map into a tensor, and calls a ControlNet on one that is embedded already.

What a ControlNet makes of a map depends on nothing else, so it is made once.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.families.base import LoadedModel

if TYPE_CHECKING:
    from PIL.Image import Image


def map_pixels(model: LoadedModel, image: Image) -> Tensor:
    """A map's pixels, 0..1, (1, 3, H, W), in the model's dtype and on its device."""
    values = torch.from_numpy(np.array(image.convert("RGB"), np.float32) / 255.0)
    return values.permute(2, 0, 1)[None].to(model.device, model.dtype)


def with_parts(net: nn.Module, **parts: nn.Module | None) -> nn.Module:
    """A view on a ControlNet with other parts, which leaves the ControlNet as it is.

    Args:
        parts: by name, such as an Identity in place of what embeds maps.
    """
    view = copy.copy(net)
    # The copy's own table of modules: the ControlNet keeps its parts.
    view._modules = {**net._modules, **parts}
    return view
