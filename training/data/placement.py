"""Boxes for the things of a scene: alone, scattered without overlap, or in a relation.

Lengths are shares of the picture's side; (0, 0) is the upper left corner, y grows downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.kinds import GROUND, SKY

# (name, least and largest longer side, how often) of a thing that is alone.
SIZES: dict[str, tuple[float, float, float]] = {
    "tiny": (0.12, 0.16, 0.07),
    "small": (0.18, 0.29, 0.22),
    "": (0.36, 0.56, 0.36),
    "large": (0.64, 0.92, 0.35),
}
# A centre nearer than this to a side of the picture is there; within MIDDLE of the middle, centred.
SIDE, MIDDLE = 0.36, 0.1
MARGIN = 0.02
TRIES = 40
# Of the smaller box, that may lie over another.
OVERLAP = 0.06


@dataclass(frozen=True)
class Box:
    """A centre, a width and a height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def size(self) -> float:
        """The longer side."""
        return max(self.width, self.height)

    def resized(self, factor: float) -> "Box":
        """The same place, other lengths."""
        return replace(self, width=self.width * factor, height=self.height * factor)

    def inside(self, margin: float = MARGIN) -> "Box":
        """Moved into the picture, as far as it fits."""
        x = float(np.clip(self.x, *_range(self.width, margin)))
        y = float(np.clip(self.y, *_range(self.height, margin)))
        return replace(self, x=x, y=y)

    def overlap(self, other: "Box") -> float:
        """The common area as a share of the smaller box."""
        wide = (self.width + other.width) / 2 - abs(self.x - other.x)
        high = (self.height + other.height) / 2 - abs(self.y - other.y)
        if wide <= 0 or high <= 0:
            return 0.0
        wide, high = min(wide, self.width, other.width), min(high, self.height, other.height)
        return wide * high / min(self.width * self.height, other.width * other.height)


Shape = tuple[float, float]


def _range(length: float, margin: float) -> tuple[float, float]:
    low = length / 2 + margin
    return (low, 1 - low) if low < 0.5 else (0.5, 0.5)


def shape_of(height: int, width: int) -> Shape:
    """Height and width with the longer side 1."""
    longer = max(height, width)
    return height / longer, width / longer


def sized(shape: Shape, size: float, x: float = 0.5, y: float = 0.5) -> Box:
    """A box of this shape whose longer side is `size`."""
    return Box(x, y, shape[1] * size, shape[0] * size)


def size_name(box: Box) -> str | None:
    """A key of `SIZES`; None between two of them."""
    for name, (least, most, _) in SIZES.items():
        if least - 0.015 <= box.size <= most + 0.015:
            return name
    return None


def position_names(box: Box) -> tuple[str, ...]:
    """Which of left, right, top, bottom, centre a box is at; none in between."""
    found = []
    if box.x < SIDE or box.x > 1 - SIDE:
        found.append("left" if box.x < SIDE else "right")
    if box.y < SIDE or box.y > 1 - SIDE:
        found.append("top" if box.y < SIDE else "bottom")
    if abs(box.x - 0.5) < MIDDLE and abs(box.y - 0.5) < MIDDLE:
        found.append("centre")
    return tuple(found)


def _size(rng: np.random.Generator, most: float = 1.0) -> float:
    names = [name for name, (least, _, _) in SIZES.items() if least < most]
    odds = np.array([SIZES[name][2] for name in names])
    least, largest, _ = SIZES[str(rng.choice(names, p=odds / odds.sum()))]
    return float(rng.uniform(least, min(largest, most)))


def _natural_y(box: Box, kind: str, horizon: float, rng: np.random.Generator) -> float:
    """A height at which such a thing may be: feet on the ground, wings in the sky."""
    low, high = _range(box.height, MARGIN)
    if horizon and kind in GROUND:
        foot = rng.uniform(horizon + 0.04, 0.96)
        return float(np.clip(foot - box.height / 2, low, high))
    if horizon and kind in SKY:
        return float(np.clip(rng.uniform(0, horizon), low, high))
    return float(rng.uniform(low, high))


def _somewhere(
    shape: Shape, size: float, kind: str, horizon: float, rng: np.random.Generator
) -> Box:
    box = sized(shape, size)
    x = float(rng.uniform(*_range(box.width, MARGIN)))
    return replace(box, x=x, y=_natural_y(box, kind, horizon, rng)).inside()


def single(
    shape: Shape, kind: str, horizon: float, aimed: bool, rng: np.random.Generator
) -> list[Box]:
    """A place for one thing: anywhere, or at a side, a corner or the middle."""
    size = _size(rng)
    if not aimed:
        return [_somewhere(shape, size, kind, horizon, rng)]
    size = min(size, 0.56)
    # Columns and rows: left or top, in between, right or bottom.
    column, row = ((0, 1), (2, 1), (1, 0), (1, 2), (1, 1), (0, 0), (2, 0), (0, 2), (2, 2))[
        int(rng.choice(9, p=(0.2, 0.2, 0.14, 0.14, 0.16, 0.04, 0.04, 0.04, 0.04)))
    ]
    spots = ((0.0, SIDE - 0.04), (0.5 - MIDDLE * 0.8, 0.5 + MIDDLE * 0.8), (1.04 - SIDE, 1.0))
    box = sized(shape, size)
    x, y = float(rng.uniform(*spots[column])), float(rng.uniform(*spots[row]))
    if row == 1 and column != 1 and rng.random() < 0.6:
        y = _natural_y(box, kind, horizon, rng)
    return [replace(box, x=x, y=y).inside()]


def scattered(
    shapes: Sequence[Shape],
    kinds: Sequence[str],
    horizon: float,
    equal: bool,
    rng: np.random.Generator,
) -> list[Box] | None:
    """Places that hardly overlap; `equal` for things of about one size."""
    count = len(shapes)
    most = {2: 0.52, 3: 0.42, 4: 0.36}[count]
    size = float(rng.uniform(0.22 if count == 2 else 0.18, most))
    sizes = [size * float(rng.uniform(0.88, 1.12) if equal else rng.uniform(0.75, 1.3))
             for _ in shapes]  # fmt: skip
    if rng.random() < 0.35:
        return _row(shapes, sizes, kinds, horizon, rng)
    found: list[Box] = []
    for shape, own, kind in zip(shapes, sizes, kinds, strict=True):
        for _ in range(TRIES):
            box = _somewhere(shape, own, kind, horizon, rng)
            if all(box.overlap(other) <= OVERLAP for other in found):
                found.append(box)
                break
        else:
            return None
    return found


def _row(
    shapes: Sequence[Shape],
    sizes: Sequence[float],
    kinds: Sequence[str],
    horizon: float,
    rng: np.random.Generator,
) -> list[Box] | None:
    """Side by side on about one level."""
    boxes = [sized(shape, size) for shape, size in zip(shapes, sizes, strict=True)]
    gaps = rng.uniform(0.01, 0.06, len(boxes))
    total = sum(box.width for box in boxes) + float(gaps[1:].sum())
    scale = min(1.0, 0.94 / total)
    boxes, gaps, total = [box.resized(scale) for box in boxes], gaps * scale, total * scale
    left = float(rng.uniform(0.02, max(0.98 - total, 0.021)))
    tallest = max(boxes, key=lambda box: box.height)
    foot = _natural_y(tallest, kinds[0], horizon, rng) + tallest.height / 2
    found = []
    for number in rng.permutation(len(boxes)):
        box = boxes[number]
        y = foot - box.height / 2 + float(rng.normal(0, 0.012))
        found.append((int(number), replace(box, x=left + box.width / 2, y=y).inside(0.0)))
        left += box.width + float(gaps[number])
    return [box for _, box in sorted(found, key=lambda pair: pair[0])]


def related(
    relation: str,
    shapes: Sequence[Shape],
    horizon: float,
    kinds: Sequence[str],
    rng: np.random.Generator,
) -> list[Box] | None:
    """Two boxes, the first in the relation to the second.

    Args:
        relation: "left of", "above", "on" or "in front of".
    Raises: ValueError: if the relation is another.
    """
    first, second = shapes
    if relation == "left of":
        sizes = rng.uniform(0.24, 0.5, 2)
        a, b = sized(first, float(sizes[0])), sized(second, float(sizes[1]))
        gap = float(rng.uniform(0.02, 0.2))
        room = 0.96 - a.width - b.width - gap
        if room < 0:
            return None
        left = 0.02 + float(rng.uniform(0, room))
        foot = _natural_y(b, kinds[1], horizon, rng) + b.height / 2
        y = foot - a.height / 2 + float(rng.normal(0, 0.05))
        a = replace(a, x=left + a.width / 2, y=y).inside()
        b = replace(b, x=left + a.width + gap + b.width / 2, y=foot - b.height / 2).inside()
        return [a, b]
    if relation == "above":
        sizes = rng.uniform(0.22, 0.46, 2)
        a, b = sized(first, float(sizes[0])), sized(second, float(sizes[1]))
        gap = float(rng.uniform(0.03, 0.14))
        room = 0.96 - a.height - b.height - gap
        if room < 0:
            return None
        top = 0.02 + float(rng.uniform(0, room))
        x = float(rng.uniform(*_range(max(a.width, b.width), MARGIN)))
        aside = float(rng.normal(0, 0.05))
        a = replace(a, x=x + aside, y=top + a.height / 2).inside()
        return [a, replace(b, x=x, y=top + a.height + gap + b.height / 2).inside()]
    if relation == "on":
        b = sized(second, float(rng.uniform(0.36, 0.58)))
        a = sized(first, b.width * float(rng.uniform(0.5, 0.95)))
        b = _somewhere(second, b.size, kinds[1], horizon, rng)
        sunk = b.height * float(rng.uniform(0.02, 0.1))
        top = b.y - b.height / 2 + sunk
        if top - a.height < MARGIN:
            b = replace(b, y=b.y + MARGIN + a.height - top)
            top = b.y - b.height / 2 + sunk
        if b.y + b.height / 2 > 0.99:
            return None
        x = b.x + float(rng.uniform(-0.15, 0.15)) * b.width
        return [replace(a, x=x, y=top - a.height / 2), b]
    if relation == "in front of":
        b = _somewhere(second, float(rng.uniform(0.5, 0.72)), kinds[1], horizon, rng)
        a = sized(first, b.size * float(rng.uniform(0.4, 0.62)))
        foot = b.y + b.height / 2
        x = b.x + float(rng.uniform(-0.45, 0.45)) * b.width
        y = foot - a.height * float(rng.uniform(0.25, 0.45))
        a = replace(a, x=x, y=y).inside()
        return [a, b] if a.overlap(b) > 0.2 else None
    raise ValueError(f"unknown relation {relation!r}")
