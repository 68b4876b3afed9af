"""Filled outlines that a person is drawn with: tapered limbs and smooth blobs.

Every part has a thin edge of a darker shade of its own colour (a lighter one where it is black),
so that an arm is seen before a shirt of the same colour, and white on white.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

PARTS = ("nothing", "seat", "a arm", "b arm", "a leg", "b leg", "torso", "head")
EDGE = 0.0085
ARC = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Shape:
    """One filled polygon, corners (N, 2) in heights of a standing person."""

    corners: Points
    colour: Colour
    part: str


@dataclass(frozen=True)
class Looks:
    """The colours and cuts of one person; `far` darkens the limbs on the far side."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    shoes: Colour
    hair: str
    hair_colour: Colour
    long_sleeves: bool
    far: float


def shade(colour: Colour, factor: float) -> Colour:
    """The colour, darker."""
    red, green, blue = (round(value * factor) for value in colour)
    return red, green, blue


def edge_colour(colour: Colour) -> Colour:
    """A darker shade, or a grey that is seen on black."""
    return (78, 78, 82) if sum(colour) < 120 else shade(colour, 0.76)


def capsule(start: Points, end: Points, first: float, last: float) -> Points:
    """The outline of two discs and what lies between them, (N, 2); radii `first` and `last`."""
    along = end - start
    distance = max(float(np.hypot(*along)), 1e-6)
    heading = np.arctan2(along[1], along[0])
    flare = np.arccos(np.clip((first - last) / distance, -1, 1))
    back = heading + flare + ARC * (2 * np.pi - 2 * flare)
    front = heading - flare + ARC * 2 * flare
    discs = [
        centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        for centre, radius, angles in ((start, first, back), (end, last, front))
    ]
    return np.concatenate(discs)


def blob(corners: Points, grow: float = 0.0) -> Points:
    """A closed smooth curve through the corners, moved away from their mean by `grow`."""
    if grow:
        away = corners - corners.mean(0)
        corners = corners + grow * away / np.linalg.norm(away, axis=1, keepdims=True)
    before, after = np.roll(corners, 1, 0), np.roll(corners, -1, 0)
    beyond = np.roll(corners, -2, 0)
    t = np.linspace(0, 1, 7)[:-1, None, None]
    curve = 0.5 * (
        2 * corners
        + (after - before) * t
        + (2 * before - 5 * corners + 4 * after - beyond) * t**2
        + (3 * corners - before - 3 * after + beyond) * t**3
    )
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2), np.float64)


def limb(
    points: Sequence[Points], radii: Sequence[float], colour: Colour, part: str
) -> list[Shape]:
    """Capsules from point to point: their edges first, so that joints show none."""
    spans = list(zip(points, points[1:], radii, radii[1:], strict=False))
    edges = [capsule(p, q, r + EDGE, s + EDGE) for p, q, r, s in spans]
    fills = [capsule(p, q, r, s) for p, q, r, s in spans]
    return [Shape(edge, edge_colour(colour), part) for edge in edges] + [
        Shape(fill, colour, part) for fill in fills
    ]
