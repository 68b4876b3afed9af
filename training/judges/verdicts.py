"""Captions to ask for, and what the classifier and the corners say of the pictures that come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.data.captions import BACKGROUND_NAMES, article
from training.data.colours import background_rgb, nearest_background
from training.data.concepts import Concept
from training.data.drawings import SIZE, STYLES, Drawings, compose
from training.data.renderings import shrunk
from training.data.synonyms import SYNONYMS
from training.judges.classifier import Classifier

CORNER = 8


@dataclass(frozen=True)
class Ask:
    """One caption and the drawing it asks for; `concept` is an index."""

    concept: int
    style: str
    background: str
    caption: str


def make_asks(concepts: Sequence[Concept], count: int, seed: int = 0) -> list[Ask]:
    """`count` captions on different concepts; styles in turn; every second background white."""
    rng = np.random.default_rng(seed)
    asks = []
    for row, concept in enumerate(rng.permutation(len(concepts))[:count]):
        style = STYLES[row % len(STYLES)]
        background = "white" if row % 2 == 0 else BACKGROUND_NAMES[1 + row // 2 % 8]
        label = concepts[concept].label
        text = f"{article(label)} {label}, {style} style"
        if background != "white":
            text += f", on {article(background)} {background} background"
        asks.append(Ask(int(concept), style, background, text))
    return asks


def corner_colour(pixels: NDArray[np.float32]) -> tuple[float, float, float]:
    """The mean colour of the four corners of one picture, (128, 128, 3)."""
    ends = np.r_[0:CORNER, SIZE - CORNER : SIZE]
    red, green, blue = pixels[np.ix_(ends, ends)].mean(axis=(0, 1)).tolist()
    return red, green, blue


@dataclass(frozen=True)
class Verdict:
    """Verdicts on pictures by the classifier and the corners' colour, one entry a picture.

    Args:
        rank: how many concepts the classifier finds likelier than the asked one, (N,).
        likelihood: its probability of the asked concept, (N,).
        style, background: whether each is the asked one, (N,).
    """

    rank: NDArray[np.int64]
    likelihood: NDArray[np.float32]
    style: NDArray[np.bool_]
    background: NDArray[np.bool_]


@torch.no_grad()
def judge(pictures: NDArray[np.float32], asks: Sequence[Ask], classifier: Classifier) -> Verdict:
    """Judge pictures (N, 128, 128, 3) in 0..255 by what was asked for."""
    concept, style = classifier(shrunk(pictures))
    asked = torch.tensor([ask.concept for ask in asks])
    own = concept.gather(1, asked[:, None])
    styles = np.asarray([STYLES.index(ask.style) for ask in asks])
    backgrounds = [nearest_background(corner_colour(picture)) for picture in pictures]
    return Verdict(
        rank=(concept > own).sum(1).numpy(),
        likelihood=concept.softmax(1).gather(1, asked[:, None])[:, 0].numpy(),
        style=style.argmax(1).numpy() == styles,
        background=np.asarray(
            [found == ask.background for found, ask in zip(backgrounds, asks, strict=True)]
        ),
    )


def as_array(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Pictures as (N, 128, 128, 3) float32 in 0..255."""
    return np.stack([np.asarray(p.convert("RGB"), np.float32) for p in pictures])


def truth(asks: Sequence[Ask], concepts: Sequence[Concept], drawings: Drawings) -> NDArray[Any]:
    """The very drawings asked for, (N, 128, 128, 3) float32 in 0..255."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    rows = [row_of[concepts[ask.concept].code, ask.style] for ask in asks]
    return np.stack(
        [
            compose(np.asarray(drawings.pixels[row]), background_rgb(ask.background))
            for row, ask in zip(rows, asks, strict=True)
        ]
    )


def unseen_words(concepts: Sequence[Concept]) -> list[Ask]:
    """One caption for each word of `SYNONYMS`, asking for the concept it means."""
    index = {concept.label: i for i, concept in enumerate(concepts)}
    return [
        Ask(index[label], "3d", "white", f"{article(word)} {word}")
        for word, label in SYNONYMS.items()
    ]


def share(values: NDArray[Any]) -> float:
    """The mean of truths, to a tenth of a per cent."""
    return round(float(np.mean(values)), 3)
