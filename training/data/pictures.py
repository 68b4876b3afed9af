"""Random pictures for the autoencoder: drawings on backgrounds, scenes, and crops of them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.colours import BACKGROUNDS, WHITE
from training.data.drawings import SIZE, Drawings, compose, moved
from training.data.scenes import Scenes

# Never shown to the autoencoder: its quality is measured on them. None is a UNet concept.
HELD_OUT = (
    "abacus",
    "accordion",
    "alembic",
    "amphora",
    "banjo",
    "barber pole",
    "boomerang",
    "card index dividers",
    "carp streamer",
    "clamp",
    "control knobs",
    "curling stone",
    "dango",
    "diya lamp",
    "fondue",
    "goblin",
    "hamsa",
    "long drum",
    "mahjong red dragon",
    "mate",
    "mechanical leg",
    "microbe",
    "nazar amulet",
    "ogre",
    "oil drum",
    "petri dish",
    "pine decoration",
    "safety pin",
    "tanabata tree",
    "woman fairy",
)


@dataclass(frozen=True)
class Mixture:
    """How often what is drawn.

    Args:
        scenes: share of figures and solids; the rest are emoji drawings.
        white: share of the drawings on white.
        named: share on one of the named backgrounds; the rest are on any colour.
        moved: share that is mirrored, scaled and shifted at random.
    """

    scenes: float = 0.15
    white: float = 0.4
    named: float = 0.4
    moved: float = 0.5


def random_background(rng: np.random.Generator, mixture: Mixture) -> NDArray[np.float32]:
    """White, one of the named colours, or any colour."""
    kind = rng.random()
    if kind < mixture.white:
        return np.asarray(WHITE, np.float32)
    if kind < mixture.white + mixture.named:
        return np.asarray(list(BACKGROUNDS.values())[rng.integers(len(BACKGROUNDS))], np.float32)
    return rng.uniform(0, 255, 3).astype(np.float32)


def split_rows(drawings: Drawings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers for training, and of the held-out concepts."""
    out = [drawings.names[code]["label"] in HELD_OUT for code, _ in drawings.keys]
    return np.flatnonzero(~np.asarray(out)), np.flatnonzero(out)


class Pictures:
    """Draws from all domains but the held-out concepts."""

    def __init__(
        self, drawings: Drawings, scenes: Scenes, rng: np.random.Generator, mixture: Mixture
    ) -> None:
        self.drawings, self._scenes, self._rng, self._mixture = drawings, scenes, rng, mixture
        self._rows, self.held_out = split_rows(drawings)

    def _one(self) -> NDArray[np.float32]:
        rng, mixture = self._rng, self._mixture
        if rng.random() < mixture.scenes:
            pixels = self._scenes.pixels[rng.integers(len(self._scenes.pixels))]
            return np.asarray(pixels, np.float32)
        rgba = np.asarray(self.drawings.pixels[rng.choice(self._rows)])
        if rng.random() < mixture.moved:
            rgba = moved(rgba, rng)
        return compose(rgba, random_background(rng, mixture))

    def draw(self, count: int, crop: int | None = None) -> Tensor:
        """Random pictures, or square crops of their inner part.

        Returns: (count, 3, 128, 128), or (count, 3, crop, crop), float32 in −1..1.
        """
        found = []
        for _ in range(count):
            picture = self._one()
            if crop:
                y, x = self._rng.integers(4, SIZE - crop - 3, 2)
                picture = picture[y : y + crop, x : x + crop]
            found.append(picture)
        return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 127.5 - 1
