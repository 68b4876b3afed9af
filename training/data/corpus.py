"""What the text encoder and the UNet are trained on: latents with a caption that asks for them.

Emoji drawings get a new caption each time they are drawn (see `training.data.captions`); a figure
or a solids scene keeps the one it was made with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from training.data.captions import BACKGROUND_NAMES, Wording, all_phrases, caption
from training.data.concepts import Concept
from training.data.drawings import STYLES
from training.data.latents import Latents
from training.data.tokenizer import tokenize

NOTHING = -1


@dataclass(frozen=True)
class Batch:
    """Rows for one training step.

    Args:
        latents: (B, 4, 16, 16) float32.
        tokens: (B, MAX_TOKENS) int64, see `training.data.tokenizer`.
        picked: concept, style and background of emoji rows, (3, B) int64; −1 elsewhere.
    """

    latents: Tensor
    tokens: Tensor
    picked: Tensor


@dataclass(frozen=True)
class Shares:
    """How often what is drawn.

    Args:
        scenes: share of rows that are figures or solids.
        styles: of emoji rows, by `STYLES`.
        white: of emoji rows, on white; the rest are spread over the named backgrounds.
    """

    scenes: float = 0.2
    styles: tuple[float, ...] = (0.4, 0.3, 0.3)
    white: float = 0.4


class Corpus:
    """Draws rows; every concept comes equally often.

    Args:
        latents: of the drawings and the scenes.
        concepts: in the order of `latents.values`.
        captions: of the scenes.
    """

    def __init__(
        self,
        latents: Latents,
        concepts: Sequence[Concept],
        captions: Sequence[str],
        tokenizer: CLIPTokenizer,
        shares: Shares,
        rng: np.random.Generator,
    ) -> None:
        self.latents, self.concepts, self.tokenizer = latents, concepts, tokenizer
        self._captions, self._shares, self._rng = captions, shares, rng
        self._queue = np.empty(0, np.int64)
        named = (1 - shares.white) / (len(BACKGROUND_NAMES) - 1)
        self._whites = (shares.white, *[named] * (len(BACKGROUND_NAMES) - 1))

    def _concepts(self, count: int) -> NDArray[np.int64]:
        while len(self._queue) < count:
            more = self._rng.permutation(len(self.concepts))
            self._queue = np.concatenate([self._queue, more])
        taken, self._queue = self._queue[:count], self._queue[count:]
        return taken

    def draw(self, count: int, caption_dropout: float = 0.0) -> Batch:
        """`count` random rows; `caption_dropout` of them with an empty caption."""
        rng, wording = self._rng, Wording()
        scenes = round(count * self._shares.scenes) if self._captions else 0
        order = self._concepts(count - scenes)
        styles = rng.choice(len(STYLES), len(order), p=self._shares.styles)
        backgrounds = rng.choice(len(BACKGROUND_NAMES), len(order), p=self._whites)
        captions = [
            caption(self.concepts[c], STYLES[s], BACKGROUND_NAMES[b], wording, rng)
            for c, s, b in zip(order, styles, backgrounds, strict=True)
        ]
        picked = np.full((3, count), NOTHING)
        picked[:, : len(order)] = order, styles, backgrounds
        latents = [self.latents.values[order, styles, backgrounds]]
        if scenes:
            rows = rng.integers(len(self._captions), size=scenes)
            captions += [self._captions[row] for row in rows]
            latents.append(self.latents.scenes[rows])
        said = ["" if rng.random() < caption_dropout else text for text in captions]
        return Batch(
            torch.cat(latents).float(), tokenize(self.tokenizer, said), torch.from_numpy(picked)
        )


def vocabulary_phrases(
    concepts: Sequence[Concept], captions: Sequence[str], words: Sequence[str], seed: int
) -> Iterator[str]:
    """What the tokenizer learns from: captions many times over, usual English words once."""
    yield from all_phrases(concepts, 10, seed)
    yield from captions
    yield from words
