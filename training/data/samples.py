"""What every domain yields: a picture, its caption and the condition maps that are known exactly.

Edges are no ground truth of a domain; they are found in the picture, the same way for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

CANNY_LOW = 100
CANNY_HIGH = 200
SOFT_BLUR = 1.0


@dataclass(frozen=True)
class Sample:
    """One training picture.

    Args:
        pixels: (128, 128, 3) uint8 RGB.
        caption: what it shows.
        maps: exact conditions by name; the module of each domain says which, and their shapes.
    """

    pixels: NDArray[np.uint8]
    caption: str
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wording:
    """How often the captions of figures and solids choose which words.

    Args:
        article: share that start with "a" or "an" (a count keeps its place).
        synonym: share of nouns replaced by another word for the same thing.
        pose_first: share of poses that stand before the noun, where the pose has such a word.
        worn: share of clothes said as "in a red shirt" instead of ", red shirt".
        unsaid_shirt: share of shirts left out.
        unsaid_trousers: share of trousers left out.
        named_white: share of white backgrounds that are said.
        varied_background: share of backgrounds said as `captions.say_background` does.
        unsaid_colours: share of solids whose colours are left out.
        beside: share of pairs of solids joined by "next to" or the like instead of "and".
    """

    article: float = 0.85
    synonym: float = 0.12
    pose_first: float = 0.35
    worn: float = 0.5
    unsaid_shirt: float = 0.12
    unsaid_trousers: float = 0.2
    named_white: float = 0.15
    varied_background: float = 1.0
    unsaid_colours: float = 0.08
    beside: float = 0.12


# Everything said, in the plainest way: for evaluation.
PLAIN = Wording(
    article=1,
    synonym=0,
    pose_first=0,
    worn=0,
    unsaid_shirt=0,
    unsaid_trousers=0,
    named_white=0,
    varied_background=0,
    unsaid_colours=0,
    beside=0,
)


def soft_edges(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The strength of edges in a slightly blurred picture, strongest channel, its maximum at 255.

    Math: e = max over channels of |∇(G∗c)|, then 255·e/max e; all 0 for a plain picture.
    Args:
        pixels: (H, W, 3) uint8.
    Returns: (H, W) uint8.
    """
    smooth = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), SOFT_BLUR)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.sqrt(across * across + down * down).max(-1)
    peak = float(strength.max())
    if peak == 0:
        return np.zeros(pixels.shape[:2], np.uint8)
    return np.asarray(np.rint(strength * (255 / peak)), np.uint8)


def edges(sample: Sample, kind: Literal["canny", "soft"]) -> NDArray[np.uint8]:
    """The edges of a sample's picture.

    Args:
        kind: "canny" for thin lines, 0 or 255 (thresholds 100 and 200); "soft" for graded ones.
    Returns: (H, W) uint8.
    Raises: ValueError: if the kind is another.
    """
    if kind == "canny":
        return np.asarray(cv2.Canny(sample.pixels, CANNY_LOW, CANNY_HIGH), np.uint8)
    if kind == "soft":
        return soft_edges(sample.pixels)
    raise ValueError(f"unknown edges {kind!r}; allowed are 'canny' and 'soft'")
