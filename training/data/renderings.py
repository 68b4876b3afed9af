"""Renderings of drawings: at random places, sizes and tints, at the side the judges look at."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data.colours import BACKGROUNDS, WHITE
from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings

SIDE = 64


def shrunk(pictures: NDArray[np.float32]) -> Tensor:
    """Pictures (N, 128, 128, 3) in 0..255 as the classifier takes them."""
    scaled = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    return F.interpolate(scaled, (SIDE, SIDE), mode="area")


class Renderings:
    """Real drawings with random places, sizes, tints, softness and backgrounds.

    Args:
        drawings: all of them.
        concepts: the classes, in order.
        seed: renderings of another seed are new to a classifier trained on these.
    """

    def __init__(self, drawings: Drawings, concepts: Sequence[Concept], seed: int) -> None:
        row_of = {key: row for row, key in enumerate(drawings.keys)}
        rows = [row_of[c.code, style] for c in concepts for style in STYLES]
        rgba = torch.from_numpy(np.asarray(drawings.pixels)[rows]).permute(0, 3, 1, 2).float() / 255
        rgba[:, :3] *= rgba[:, 3:]
        # At twice the classifier's size, so that enlarged drawings stay sharp.
        self._drawings = rgba.half()
        self._generator = torch.Generator().manual_seed(seed)
        self._colours = torch.tensor([WHITE, *BACKGROUNDS.values()]) / 255

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (count, 3, 64, 64) in −1..1, their concepts and styles, (count,) each."""
        rows = torch.randint(len(self._drawings), (count,), generator=self._generator)
        named = self._colours[
            torch.randint(len(self._colours), (count,), generator=self._generator)
        ]
        white = (self._uniform(0, 1, count, 1) < 0.3).float()
        pictures = self.render(rows, white + (1 - white) * named)
        return pictures, rows // len(STYLES), rows % len(STYLES)

    def render(self, rows: Tensor, plain: Tensor) -> Tensor:
        """Chosen drawings on chosen backgrounds, everything else at random.

        Args:
            rows: concept · styles + style, (count,) int64.
            plain: RGB of each background in 0..1, (count, 3).
        Returns: (count, 3, 64, 64) in −1..1.
        """
        count = len(rows)
        rgba = self._drawings[rows].float()
        scale, angle = self._uniform(0.85, 1.3, count), self._uniform(-0.2, 0.2, count)
        flip = torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)
        shift = self._uniform(-0.12, 0.12, count, 2)
        turn = torch.stack([angle.cos() * flip, -angle.sin(), angle.sin() * flip, angle.cos()], 1)
        theta = torch.cat([turn.view(-1, 2, 2) * scale.view(-1, 1, 1), shift[..., None]], dim=2)
        grid = F.affine_grid(theta, [count, 4, SIDE, SIDE], align_corners=False)
        rgba = F.grid_sample(rgba, grid, align_corners=False)
        pictures = rgba[:, :3] + (1 - rgba[:, 3:]) * plain.view(-1, 3, 1, 1)
        soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
        softness = self._uniform(0, 1.0, count, 1, 1, 1)
        pictures = pictures + softness * (soft - pictures)
        tint = 1 + self._uniform(-0.1, 0.1, count, 3, 1, 1)
        noise = 0.02 * torch.randn(pictures.shape, generator=self._generator)
        return (pictures * tint + noise).clamp(0, 1) * 2 - 1
