"""A drawn head, seen from any side: an egg of skin, a small face on its surface, hair around it."""

from collections.abc import Mapping

import numpy as np

from training.data.outlines import (
    EDGE,
    Colour,
    Looks,
    Points,
    Shape,
    blob,
    capsule,
    edge_colour,
    limb,
    shade,
)
from training.data.poses import HEAD_HEIGHT, HEAD_WIDTH, on_head


class Head:
    """The shapes of one head; coordinates are shares of its half-width and half-height."""

    def __init__(self, at: Mapping[str, Points], turn: float, looks: Looks, size: float) -> None:
        self.at, self.turn, self.looks, self.size = at, turn, looks, size
        axis = at["head"] - at["neck"]
        self.axis = axis / np.linalg.norm(axis)
        self.right = np.array([-self.axis[1], self.axis[0]])
        self.facing = float(np.sin(np.radians(turn)))

    def local(self, x: float, y: float) -> Points:
        """A point at x, y in half-widths and half-heights of the head, y up."""
        reach = x * HEAD_WIDTH * self.right + y * HEAD_HEIGHT * self.axis
        return np.asarray(self.at["head"] + self.size * reach, np.float64)

    def oval(self, x: float, y: float, wide: float, high: float) -> Points:
        """An ellipse around a local point, (N, 2)."""
        angles = np.linspace(0, 2 * np.pi, 29)[:-1, None]
        across = np.cos(angles) * wide * HEAD_WIDTH * self.right
        along = np.sin(angles) * high * HEAD_HEIGHT * self.axis
        return np.asarray(self.local(x, y) + self.size * (across + along), np.float64)

    def egg(self, grow: float) -> Points:
        """The outline of the skull and a somewhat narrower chin."""
        chin = 0.14 * self.facing
        table = ((0, 1), (-0.72, 0.74), (-1, 0.1), (-0.78, -0.56), (chin, -1.04), (0.84, -0.5))
        corners = [self.local(x, y) for x, y in (*table, (1, 0.1), (0.72, 0.74))]
        return blob(np.array(corners), grow)

    def shape(self, corners: Points, colour: Colour) -> Shape:
        """A part of the head."""
        return Shape(corners, colour, "head")

    def behind(self) -> list[Shape]:
        """Hair that hangs down behind the body."""
        hair, back = self.looks.hair_colour, -0.42 * self.facing
        if self.looks.hair == "long":
            top, low = self.local(back * 0.5, 0.1), self.local(back * 1.3, -1.25)
            return limb([top, low], [0.082 * self.size, 0.066 * self.size], hair, "head")
        if self.looks.hair == "tail":
            side = -0.9 if self.facing >= 0 else 0.9
            knot, end = self.local(side, 0.5), self.local(side * 1.75, -0.75)
            return limb([knot, end], [0.03 * self.size, 0.02 * self.size], hair, "head")
        if self.looks.hair == "bun":
            knot = self.local(back * 1.6, 1.12)
            return limb([knot, knot], [0.038 * self.size] * 2, hair, "head")
        return []

    def neck(self) -> list[Shape]:
        """The neck, of a slightly darker skin, since the chin shades it."""
        low, high = self.at["neck"] - 0.008 * self.axis, self.local(-0.12 * self.facing, -0.6)
        return [Shape(capsule(low, high, 0.031, 0.029), shade(self.looks.skin, 0.86), "head")]

    def crown(self) -> list[Shape]:
        """The hair on the head, cut back to leave the face free."""
        looks, f = self.looks, self.facing
        if looks.hair == "bald":
            return []
        hair, shapes = looks.hair_colour, []
        if looks.hair == "curly":
            for angle in np.radians(np.linspace(-20, 200, 10)):
                x, y = 0.86 * np.cos(angle) - 0.22 * f, 0.34 + 0.66 * np.sin(angle)
                shapes.append(self.shape(self.oval(x, y, 0.4, 0.34), hair))
        line = 0.62 if looks.hair == "parted" else 0.5
        temple = 0.02 if looks.hair != "short" else 0.16
        outline = [
            *((-1.07 - 0.04 * f, 0.05 - 0.45 * f), (-1.05, 0.5), (-0.62, 1.0), (0, 1.16)),
            *((0.62, 1.0), (1.05, 0.5), (1.05, temple + 0.2 * f), (0.92, temple + 0.25 * f)),
            *((0.8, line - 0.08), (0.1 + 0.35 * f, line + 0.08), (-0.78 + 0.75 * f, line - 0.08)),
            (-0.9 + 0.55 * f, temple - 0.1 * f),
        ]
        corners = np.array([self.local(x, y) for x, y in outline])
        return [*shapes, self.shape(blob(corners), hair)]

    def face(self) -> list[Shape]:
        """Eyes, a nose and a smile where the turned head shows them."""
        skin, shapes = self.looks.skin, []
        dark = (40, 30, 35) if sum(skin) > 260 else (25, 15, 15)
        for azimuth in (-27, 27):
            if abs(self.turn + azimuth) < 85:
                near = float(np.cos(np.radians(self.turn + azimuth)))
                eye = self.on(azimuth, 0.06)
                wide = 0.135 * (0.45 + 0.55 * near)
                shapes.append(self.shape(self.oval(*eye, wide, 0.135), dark))
        nose = self.on(0, -0.16)
        shapes.append(self.shape(self.oval(*nose, 0.1, 0.09), shade(skin, 0.82)))
        smile = [self.on(azimuth, -0.5 - 0.09 * np.cos(azimuth / 12)) for azimuth in (-24, 0, 24)]
        low = [self.on(azimuth, -0.6 - 0.1 * np.cos(azimuth / 12)) for azimuth in (16, 0, -16)]
        mouth = np.array([self.local(x, y) for x, y in smile + low])
        return [*shapes, self.shape(blob(mouth), shade((176, 70, 70), min(1.0, sum(skin) / 450)))]

    def on(self, azimuth: float, height: float) -> tuple[float, float]:
        """Local coordinates of a point on the surface."""
        zero, upright = np.zeros(2), np.array([0.0, -1.0])
        x, y = on_head(zero, upright, self.turn + azimuth, float(height), 1.0)
        return float(x) / HEAD_WIDTH, float(-y) / HEAD_HEIGHT

    def front(self) -> list[Shape]:
        """Ears, head, face and hair."""
        skin = self.looks.skin
        ears = [self.on(azimuth, -0.04) for azimuth in (-90, 90) if abs(self.turn + azimuth) < 115]
        ring = [self.shape(self.oval(*e, 0.24, 0.26), edge_colour(skin)) for e in ears]
        inner = [self.shape(self.oval(*e, 0.16, 0.19), skin) for e in ears]
        egg = [self.shape(self.egg(EDGE), edge_colour(skin)), self.shape(self.egg(0), skin)]
        side = self.turn > 40
        return [
            *([] if side else ring + inner),
            *egg,
            *self.face(),
            *self.crown(),
            *(ring + inner if side else []),
        ]
