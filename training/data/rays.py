"""Rays against simple convex solids on a floor, for whole pictures at a time.

The floor is z = 0 and the camera looks along +y, down onto it; x points to the right. A solid is an
interval on each ray that crosses it: every solid here is the intersection of quadrics and slabs, so
its interval is the intersection of theirs. All arrays are float32 of one shape, a value a ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Interval = tuple[Array, Array]
# (rows, columns) of a picture.
Window = tuple[slice, slice]

KINDS = ("sphere", "cube", "cylinder", "cone")
# Radius (half a side for the cube) and height of each kind, for size 1.
GIRTH = {"sphere": 1.0, "cube": 0.86, "cylinder": 0.86, "cone": 1.02}
HEIGHT = {"sphere": 2.0, "cube": 1.72, "cylinder": 1.9, "cone": 2.15}
WALL = 5.0
TINY = 1e-9
SURFACE = 1e-3


@dataclass(frozen=True)
class Solid:
    """One thing on the floor.

    Args:
        kind: one of `KINDS`.
        colour: a key of `colours.NAMED`.
        x, y: where its middle stands.
        size: half its height, more or less.
        spin: degrees around the upright, for cubes.
    """

    kind: str
    colour: str
    x: float
    y: float
    size: float
    spin: float = 0.0

    @property
    def girth(self) -> float:
        """The radius; half a side for a cube."""
        return GIRTH[self.kind] * self.size

    @property
    def height(self) -> float:
        """From the floor to the top."""
        return HEIGHT[self.kind] * self.size

    @property
    def footprint(self) -> float:
        """The radius of the circle it stands in."""
        return self.girth * (2**0.5 if self.kind == "cube" else 1)

    def bounds(self) -> Array:
        """The eight corners of a box around it, (8, 3)."""
        reach = self.footprint
        corners = [
            (self.x + dx * reach, self.y + dy * reach, z)
            for dx in (-1, 1)
            for dy in (-1, 1)
            for z in (0.0, self.height)
        ]
        return np.array(corners, np.float32)


class Vectors(NamedTuple):
    """Points or directions; each component an array, or a number for all rays."""

    x: Array
    y: Array
    z: Array

    def at(self, where: Window | NDArray[np.bool_]) -> "Vectors":
        """The part inside a window or a mask."""
        return Vectors(*(c[where] if c.ndim else c for c in self))

    def dot(self, other: "Vectors") -> Array:
        """The scalar product."""
        return np.asarray(self.x * other.x + self.y * other.y + self.z * other.z, np.float32)

    def unit(self) -> "Vectors":
        """The same directions, of length 1."""
        length: Array = np.sqrt(self.dot(self))
        return vector(self.x / length, self.y / length, self.z / length)

    def along(self, direction: "Vectors", t: Array) -> "Vectors":
        """The points at `t` on the rays that start here."""
        return Vectors(*(o + t * d for o, d in zip(self, direction, strict=True)))


def vector(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> Vectors:
    """Vectors from components of any kind; from three numbers, one vector for all rays."""
    return Vectors(*(np.asarray(c, np.float32) for c in (x, y, z)))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point above the origin.

    Args:
        elevation: degrees above the horizontal.
        distance: to the point looked at.
        target: that point's height.
        focal: focal length in pixels.
        centre: where the point looked at appears, (x, y) in pixels.
    """

    elevation: float
    distance: float
    target: float
    focal: float
    centre: tuple[float, float]

    @property
    def position(self) -> Vectors:
        """Where it stands."""
        tilt = np.radians(self.elevation)
        back, up = self.distance * np.cos(tilt), self.distance * np.sin(tilt)
        return vector(0.0, -float(back), self.target + float(up))

    def rays(self, side: int, step: int) -> Vectors:
        """A ray through the middle of each of `side`·`step` by `side`·`step` cells of the picture.

        Their length is 1 along the view axis, so that a hit's `t` is its depth.
        """
        cells = (np.arange(side * step, dtype=np.float32) + 0.5) / step
        across = ((cells - self.centre[0]) / self.focal)[None, :]
        down = ((cells - self.centre[1]) / self.focal)[:, None]
        tilt = np.radians(self.elevation)
        sine, cosine = np.float32(np.sin(tilt)), np.float32(np.cos(tilt))
        flat = np.zeros_like(across + down)
        return vector(flat + across, flat + (cosine - sine * down), flat - (sine + cosine * down))

    def project(self, points: Array) -> Array:
        """Where points (N, 3) appear, (N, 2) in pixels."""
        tilt = np.radians(self.elevation)
        sine, cosine = np.sin(tilt), np.cos(tilt)
        x, y, z = (points - np.array([float(c) for c in self.position])).T
        depth = y * cosine - z * sine
        right, up = x / depth, (y * sine + z * cosine) / depth
        return np.stack([self.centre[0] + self.focal * right, self.centre[1] - self.focal * up], 1)


def window(pixels: Array, side: int, step: int) -> Window:
    """The cells around projected points, with a pixel to spare.

    Args:
        pixels: (N, 2), as from `project`.
    """
    low = np.clip(np.floor(pixels.min(0)) - 1, 0, side).astype(int) * step
    high = np.clip(np.ceil(pixels.max(0)) + 1, 0, side).astype(int) * step
    return slice(low[1], high[1]), slice(low[0], high[0])


def slab(origin: Array, direction: Array, low: float, high: float) -> Interval:
    """Where a ray is between two planes."""
    inverse = 1 / np.where(np.abs(direction) < TINY, np.float32(TINY), direction)
    first, second = (low - origin) * inverse, (high - origin) * inverse
    return np.minimum(first, second), np.maximum(first, second)


def quadric(a: Array, b: Array, c: Array) -> Interval:
    """Where a·t² + 2·b·t + c ≤ 0, for a > 0; an empty interval (∞, −∞) where nowhere."""
    root = b * b - a * c
    hit = root > 0
    width = np.sqrt(np.where(hit, root, 0))
    near = np.where(hit, (-b - width) / a, np.float32(np.inf))
    return near, np.where(hit, (width - b) / a, np.float32(-np.inf))


def both(first: Interval, second: Interval) -> Interval:
    """The intersection of two intervals."""
    return np.maximum(first[0], second[0]), np.minimum(first[1], second[1])


def local(solid: Solid, points: Vectors, turn_only: bool = False) -> Vectors:
    """Points in the solid's own frame, its foot at the origin; directions if `turn_only`."""
    x, y = (points.x, points.y) if turn_only else (points.x - solid.x, points.y - solid.y)
    if solid.kind != "cube":
        return Vectors(x, y, points.z)
    angle = np.radians(solid.spin)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return Vectors(cosine * x + sine * y, cosine * y - sine * x, points.z)


def interval(solid: Solid, origin: Vectors, direction: Vectors) -> Interval:
    """Where the rays are inside the solid; empty (first > second) where they miss it.

    A cone wants rays less steep than its side.
    """
    o, d = local(solid, origin), local(solid, direction, turn_only=True)
    r, h = solid.girth, solid.height
    wide = np.asarray(r * r, np.float32)
    upright = slab(o.z, d.z, 0.0, h)
    if solid.kind == "cube":
        return both(both(slab(o.x, d.x, -r, r), slab(o.y, d.y, -r, r)), upright)
    a, b, c = d.x * d.x + d.y * d.y, o.x * d.x + o.y * d.y, o.x * o.x + o.y * o.y
    if solid.kind == "cylinder":
        return both(quadric(a, b, c - wide), upright)
    if solid.kind == "cone":
        slope, down = (r / h) ** 2, h - o.z
        sides = quadric(a - slope * d.z**2, b + slope * down * d.z, c - slope * down * down)
        return both(sides, upright)
    z = o.z - r
    return quadric(a + d.z**2, b + z * d.z, c + z * z - wide)


def normal(solid: Solid, points: Vectors) -> Vectors:
    """The outward unit normals at points on the surface, without the side it stands on."""
    p, r, h = local(solid, points), solid.girth, solid.height
    if solid.kind == "sphere":
        return Vectors(p.x / r, p.y / r, p.z / r - 1)
    if solid.kind == "cube":
        scaled = np.stack([p.x / r, p.y / r, p.z / (h / 2) - 1])
        axis = np.abs(scaled).argmax(0)
        faces = np.where(np.arange(3)[:, None] == axis, np.sign(scaled), 0).astype(np.float32)
        angle = np.radians(solid.spin)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y, z = faces
        return Vectors(cosine * x - sine * y, sine * x + cosine * y, z)
    rise = np.float32(r / h if solid.kind == "cone" else 0)
    radius = np.maximum(np.sqrt(p.x * p.x + p.y * p.y), TINY)
    length = np.sqrt(1 + rise * rise)
    top = (p.z > h - SURFACE) & (solid.kind == "cylinder")
    x, y = (np.where(top, 0, c / radius / length) for c in (p.x, p.y))
    return vector(x, y, np.where(top, 1, rise / length))


def cast(
    solids: Sequence[Solid], camera: Camera, rays: Vectors, side: int, step: int
) -> tuple[Array, NDArray[np.uint8]]:
    """What each ray meets first: floor, wall or a solid.

    Args:
        rays: from `camera.rays(side, step)`.
    Returns: depth along the view axis, and 0 for floor or wall or i + 1 for solid i; one shape.
    """
    eye = camera.position
    falling = np.minimum(rays.z, -TINY)
    depth = np.minimum(-eye.z / falling, (WALL - eye.y) / rays.y).astype(np.float32)
    met = np.zeros(depth.shape, np.uint8)
    for index, solid in enumerate(solids):
        part = window(camera.project(solid.bounds()), side, step)
        near, far = interval(solid, eye, rays.at(part))
        hit = (near < far) & (near < depth[part])
        depth[part] = np.where(hit, near, depth[part])
        met[part][hit] = index + 1
    return depth, met
