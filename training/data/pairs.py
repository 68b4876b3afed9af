"""Pictures with a caption that says what they show: what the picture–text model learns from.

A batch holds each drawn concept twice, in different styles or on different backgrounds, so that
telling the pairs of a batch apart takes all three. No two rows of a batch ask for the same drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data.captions import BACKGROUND_NAMES, Wording, caption
from training.data.colours import background_rgb
from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings
from training.data.renderings import Renderings, shrunk
from training.data.scenes import Scenes

# The last scenes, kept for measuring.
HELD_OUT_SCENES = 400
TWINS = 2


@dataclass(frozen=True)
class Pairs:
    """Rows of one batch.

    Args:
        pictures: (B, 3, 64, 64) in −1..1.
        captions: B texts.
        concepts: of emoji rows, (E,) int64; they come first, twins beside each other.
    """

    pictures: Tensor
    captions: list[str]
    concepts: Tensor


class PairMaker:
    """Draws pairs; every concept comes equally often.

    Args:
        scenes: share of figures and solids.
        held_out: whether scenes come from those kept for measuring, or from the others.
    """

    def __init__(
        self,
        drawings: Drawings,
        concepts: Sequence[Concept],
        scenes: Scenes,
        share: float,
        seed: int,
        held_out: bool = False,
    ) -> None:
        self._renderings = Renderings(drawings, concepts, seed)
        self._concepts, self._scenes, self._share = concepts, scenes, share
        self._rng = np.random.default_rng(seed)
        self._colours = torch.tensor([background_rgb(n) for n in BACKGROUND_NAMES]) / 255
        last = len(scenes.captions) - HELD_OUT_SCENES
        self._range = (last, len(scenes.captions)) if held_out else (0, last)

    def draw(self, count: int) -> Pairs:
        """`count` pairs; emoji first."""
        rng, wording = self._rng, Wording()
        twins = round(count * (1 - self._share)) // TWINS
        concepts = np.repeat(rng.permutation(len(self._concepts))[:twins], TWINS)
        kinds = [self._kinds() for _ in range(len(concepts) // TWINS)]
        looks: NDArray[np.int64] = np.concatenate([np.empty((0, 2), np.int64), *kinds])
        styles, backgrounds = looks.T
        rows = torch.from_numpy(concepts * len(STYLES) + styles)
        drawn = self._renderings.render(rows, self._colours[torch.from_numpy(backgrounds)])
        said = [
            caption(self._concepts[c], STYLES[s], BACKGROUND_NAMES[b], wording, rng)
            for c, s, b in zip(concepts.tolist(), *looks.T.tolist(), strict=True)
        ]
        others = rng.choice(np.arange(*self._range), count - len(concepts), replace=False)
        pictures = torch.cat([drawn, self._soft_scenes(others)])
        said += [self._scenes.captions[row] for row in others]
        return Pairs(pictures, said, torch.from_numpy(concepts))

    def _kinds(self) -> NDArray[np.int64]:
        """Styles and backgrounds of twins, (TWINS, 2), no two alike; a third are on white."""
        rng = self._rng
        while True:
            styles = rng.integers(len(STYLES), size=TWINS)
            backgrounds = rng.integers(len(BACKGROUND_NAMES), size=TWINS)
            backgrounds[rng.random(TWINS) < 0.25] = 0
            kinds = np.stack([styles, backgrounds], 1)
            if len(np.unique(kinds, axis=0)) == TWINS:
                return np.asarray(kinds, np.int64)

    def _soft_scenes(self, rows: NDArray[np.int64]) -> Tensor:
        """Scenes, mirrored and softened at random."""
        if not len(rows):
            return torch.empty(0, 3, 64, 64)
        pixels = np.stack([np.asarray(self._scenes.pixels[row], np.float32) for row in rows])
        mirrored = self._rng.random(len(rows)) < 0.5
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        pictures = shrunk(pixels)
        soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
        share = torch.from_numpy(self._rng.random((len(rows), 1, 1, 1), np.float32))
        return pictures + share * (soft - pictures)
