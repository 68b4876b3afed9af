"""Real figures and solids with what they show, for the readers of `training.judges.map_reader`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data import figures, solids
from training.data.drawings import SIZE
from training.data.outlines import PARTS
from training.data.poses import KEYPOINTS
from training.data.rays import KINDS

GRID = 64
CELL = SIZE // GRID
MOVED = 4
"""Cells that a picture is moved by at most."""
TINT, SOFT = 0.12, 1.0
MIRRORED = tuple(
    KEYPOINTS.index(
        name.replace("left", "right") if "left" in name else name.replace("right", "left")
    )
    for name in KEYPOINTS
)
"""The joint that each joint is in a mirror."""


@dataclass(frozen=True)
class Rows:
    """Pictures and what they show, a value a cell of 2 px where it is a map.

    Args:
        pixels: (N, 128, 128, 3) uint8.
        labels: (N, 64, 64) int64, rows of `PARTS` or kinds of solids.
        classes: how many labels there are.
        joints: (N, 18, 3) as `figures` gives them; None for solids.
        depth: (N, 64, 64) inverse depth in 0..1, nearest 1; zeros for figures.
    """

    pixels: NDArray[np.uint8]
    labels: Tensor
    classes: int
    joints: Tensor | None
    depth: Tensor

    def take(self, rows: slice | Tensor) -> "Rows":
        """Some of the rows."""
        where: Any = rows.numpy() if isinstance(rows, Tensor) else rows
        joints = None if self.joints is None else self.joints[rows]
        return replace(
            self, pixels=self.pixels[where], labels=self.labels[rows], joints=joints,
            depth=self.depth[rows],
        )  # fmt: skip


def draw_rows(domain: str, count: int, seed: int) -> Rows:
    """`count` fresh pictures of "figures" or "solids"."""
    rng = np.random.default_rng((seed, domain == "solids"))
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty((count, GRID, GRID), np.int64)
    depth = np.zeros((count, GRID, GRID), np.float32)
    joints = np.zeros((count, len(KEYPOINTS), 3), np.float32)
    middle = slice(CELL // 2, None, CELL)
    for row in range(count):
        if domain == "figures":
            drawn = figures.draw(figures.random_figure(rng))
            labels[row] = drawn.maps["parts"][middle, middle]
            joints[row] = drawn.maps["keypoints"]
        else:
            scene = solids.random_scene(rng)
            drawn = solids.draw(scene)
            kinds = [0, *(1 + KINDS.index(solid.kind) for solid in scene.solids)]
            labels[row] = np.asarray(kinds)[drawn.maps["segments"][middle, middle]]
            near = drawn.maps["depth"]
            depth[row] = ((near - near.min()) / (near.max() - near.min()))[middle, middle]
        pixels[row] = drawn.pixels
    people = domain == "figures"
    return Rows(
        pixels,
        torch.from_numpy(labels),
        len(PARTS) if people else 1 + len(KINDS),
        torch.from_numpy(joints) if people else None,
        torch.from_numpy(depth),
    )


def varied(rows: Rows, generator: torch.Generator) -> tuple[Tensor, Rows]:
    """Half of the rows mirrored, all moved alike, softened and tinted at random.

    Returns: pictures (N, 3, 128, 128) in −1..1, and the rows as they show them.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    count = len(rows.pixels)
    pictures = torch.from_numpy(rows.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    flipped = uniform(count) < 0.5
    y, x = torch.randint(-MOVED, MOVED + 1, (2,), generator=generator).tolist()
    pictures = _moved(_flipped(pictures, flipped), y * CELL, x * CELL)
    soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    pictures = pictures + SOFT * uniform(count, 1, 1, 1) * (soft - pictures)
    pictures = (pictures + 1) * (1 - TINT / 2 + TINT * uniform(count, 3, 1, 1)) - 1
    labels = _moved(_flipped(rows.labels[:, None].float(), flipped), y, x)[:, 0].long()
    depth = _moved(_flipped(rows.depth[:, None], flipped), y, x)[:, 0]
    joints = None
    if rows.joints is not None:
        turned = rows.joints[:, list(MIRRORED)] * torch.tensor([-1.0, 1, 1])
        turned = turned + torch.tensor([float(SIZE), 0, 0])
        joints = torch.where(flipped[:, None, None], turned, rows.joints)
        joints = joints + torch.tensor([float(x * CELL), float(y * CELL), 0])
    return pictures.clamp(-1, 1), replace(rows, labels=labels, joints=joints, depth=depth)


def _flipped(maps: Tensor, which: Tensor) -> Tensor:
    return torch.where(which[:, None, None, None], maps.flip(3), maps)


def _moved(maps: Tensor, y: int, x: int) -> Tensor:
    """Moved down by y and right by x, edges repeated."""
    height, width = maps.shape[2:]
    most = max(abs(y), abs(x))
    edged = F.pad(maps, (most,) * 4, mode="replicate")
    return edged[:, :, most - y : most - y + height, most - x : most - x + width]
