"""The depth of a drawn figure, as of a board cut out and set up on a studio's floor.

A figure has no exact depth; this is the one that a depth map of it would plausibly show: the limbs
of the far side behind the torso, those of the near side before it, the floor coming towards the
viewer below the feet.
"""

import numpy as np
from numpy.typing import NDArray

from training.data.drawings import SIZE
from training.data.outlines import PARTS
from training.data.rays import Camera, cast

FAR, MIDDLE, NEAR = 0.94, 0.97, 1.0
"""Inverse depth of limbs behind the torso, of torso, head and legs, and of limbs before it."""
CAMERA = Camera(elevation=20.0, distance=6.5, target=0.9, focal=330.0, centre=(64.0, 64.0))


def layers(parts: NDArray[np.uint8], front: bool) -> NDArray[np.float32]:
    """How near each part is, 0 where nobody is.

    Args:
        parts: rows of `PARTS`, (..., H, W).
        front: whether the figure is seen from the front: its arms lie behind the torso.
    """
    limb = {"a arm": FAR, "b arm": FAR} if front else {"a arm": NEAR, "b arm": FAR}
    limb |= {} if front else {"a leg": NEAR, "b leg": FAR}
    table = [0.0, *(limb.get(part, MIDDLE) for part in PARTS[1:])]
    return np.asarray(table, np.float32)[parts]


def relief(parts: NDArray[np.uint8], front: bool) -> NDArray[np.float32]:
    """Inverse depth (128, 128), larger is nearer, of a figure on a floor; it stands at its feet."""
    floor = 1 / cast([], CAMERA, CAMERA.rays(SIZE, 1), SIZE, 1)[0]
    there = layers(parts, front)
    feet = int(np.flatnonzero((there > 0).any(1)).max())
    return np.where(there > 0, there * float(floor[feet].mean()), floor).astype(np.float32)
