"""Light on solids: one soft lamp, a bright sky, light thrown back by the floor, a little gloss.

Colours are mixed in linear light and shown with the usual power of 2.2. The lamp is a small disc of
sixteen directions. Each ray looks at one of them, neighbours in every 4×4 block at different ones,
and a 4×4 mean then gives the soft edge that sixteen shadow rays a point would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.colours import NAMED
from training.data.drawings import SIZE
from training.data.rays import (
    WALL,
    Array,
    Camera,
    Solid,
    Vectors,
    Window,
    cast,
    interval,
    normal,
    vector,
    window,
)

STEP = 2
BLOCK = 4
SPREAD = 0.11
LAMP, SKY, BOUNCE = 0.66, 0.46, 0.32
# How far the lamp's light reaches round an edge; of the sky, what the surface itself throws back.
WRAP, SHEEN = 0.12, 0.03
GLOSS, SHARPNESS = 0.22, 36
# White paint throws back a little less than all light.
PAINT = 0.93
GAMMA = 2.2
SHOWN = np.rint(255 * np.linspace(0, 1, 4096) ** (1 / GAMMA)).astype(np.uint8)


@dataclass(frozen=True)
class Light:
    """Where the lamp is.

    Args:
        azimuth: degrees from the camera's side, positive to the right.
        elevation: degrees above the floor.
    """

    azimuth: float
    elevation: float

    @property
    def direction(self) -> Vectors:
        """From the scene towards the lamp, of length 1."""
        turn, rise = np.radians(self.azimuth), np.radians(self.elevation)
        flat = float(np.cos(rise))
        return vector(flat * float(np.sin(turn)), -flat * float(np.cos(turn)), float(np.sin(rise)))

    def spread(self, side: int) -> Vectors:
        """One of sixteen directions to the lamp's disc for each cell of a square, (side, side)."""
        order = np.arange(BLOCK * BLOCK) + 0.5
        radius, angle = SPREAD * np.sqrt(order / len(order)), order * 2.399963
        middle = self.direction
        right = vector(
            float(np.cos(np.radians(self.azimuth))), float(np.sin(np.radians(self.azimuth))), 0
        )
        up = Vectors(
            -right.y * middle.z, right.x * middle.z, right.y * middle.x - right.x * middle.y
        )
        tiles = (side // BLOCK, side // BLOCK)
        across, over = radius * np.cos(angle), radius * np.sin(angle)
        found = [
            np.tile((m + across * r + over * u).reshape(BLOCK, BLOCK), tiles).astype(np.float32)
            for m, r, u in zip(middle, right, up, strict=True)
        ]
        return Vectors(*found)


def linear(colour: tuple[float, float, float]) -> Array:
    """An 8-bit colour as linear light, (3,)."""
    return ((np.array(colour) / 255) ** GAMMA).astype(np.float32)


def blocked(solids: Sequence[Solid], points: Vectors, lamp: Vectors) -> NDArray[np.bool_]:
    """Which points cannot see their direction of the lamp."""
    dark = np.zeros(points.x.shape, bool)
    for solid in solids:
        near, far = interval(solid, points, lamp)
        dark |= (near < far) & (far > 1e-3)
    return dark


def soften(values: Array) -> Array:
    """The mean over blocks of sixteen directions, twice, so that no block shows."""
    return np.asarray(cv2.blur(cv2.blur(values, (BLOCK, BLOCK)), (BLOCK, BLOCK)), np.float32)


def floor_shadow(
    solids: Sequence[Solid], camera: Camera, light: Light, ground: Vectors, lamp: Vectors
) -> Array:
    """The share of the lamp hidden from the floor, 0..1, as if the solids were not in the way."""
    side = len(ground.x)
    hidden = np.zeros((side, side), np.float32)
    for solid in solids:
        corners = solid.bounds()
        thrown = [corners]
        for rise in (-1, 1):
            low = Light(light.azimuth, light.elevation + rise * np.degrees(SPREAD)).direction
            drift = np.array([low.x / low.z, low.y / low.z]).reshape(1, 2)
            moved = corners.copy()
            moved[:, :2] -= corners[:, 2:] * drift
            moved[:, 2] = 0
            thrown.append(moved)
        part = window(camera.project(np.concatenate(thrown)), side // STEP, STEP)
        dark = blocked([solid], ground.at(part), lamp.at(part))
        hidden[part] = np.maximum(hidden[part], dark)
    return soften(hidden)


def openness(solids: Sequence[Solid], ground: Vectors) -> Array:
    """The share of the sky that the floor sees, each solid taken for a ball.

    Math: 1 − Σ cos θ·r²/d², θ the ball's angle from the upright and d its distance.
    """
    seen = np.ones_like(ground.x)
    for solid in solids:
        radius = 0.5 * (solid.girth + solid.height / 2)
        x, y, z = ground.x - solid.x, ground.y - solid.y, solid.height / 2
        distance = np.maximum(x * x + y * y + z * z, radius * radius)
        seen -= np.minimum(0.7, z * radius * radius / (distance * np.sqrt(distance)))
    return np.maximum(seen, 0.15)


def backdrop(
    solids: Sequence[Solid],
    camera: Camera,
    light: Light,
    greys: tuple[float, float],
    rays: Vectors,
    lamp: Vectors,
) -> Array:
    """Floor and wall without the solids, but with their shadows, (H, W) linear grey.

    The floor turns into the wall without a crease, as paper does in a photographer's studio.
    """
    eye = camera.position
    falling = np.minimum(rays.z, -1e-9)
    ground = eye.along(rays, np.minimum(-eye.z / falling, (WALL - eye.y) / rays.y))
    floor, wall = (float(linear((grey, grey, grey))[0]) for grey in greys)
    far = np.clip((ground.y + ground.z - 0.5) / (WALL - 0.5), 0, 1)
    plain = floor + (wall - floor) * far * far * (3 - 2 * far)
    full = LAMP * float(light.direction.z) + SKY
    lit = LAMP * float(light.direction.z) * (1 - floor_shadow(solids, camera, light, ground, lamp))
    grey = plain * (lit + SKY * openness(solids, ground)) / full
    return np.asarray(grey, np.float32)


def surface(
    solids: Sequence[Solid],
    index: int,
    camera: Camera,
    light: Light,
    hit: tuple[Window, NDArray[np.bool_], Vectors],
    lamp: Vectors,
) -> Array:
    """The light that comes from the visible points of one solid, (N, 3) linear.

    Args:
        hit: the window, which of its cells show the solid, and the points met in it.
    """
    part, mask, points = hit
    solid, others = solids[index], [s for i, s in enumerate(solids) if i != index]
    dark = (blocked(others, points, lamp.at(part)) & mask).astype(np.float32)
    hidden = soften(dark)[mask] / np.maximum(soften(mask.astype(np.float32))[mask], 1e-6)
    at = points.at(mask)
    faces, middle, eye = normal(solid, at), light.direction, camera.position
    lamp_lit = LAMP * np.maximum((faces.dot(middle) + WRAP) / (1 + WRAP), 0) * (1 - hidden)
    # Close to the floor less sky is seen, and the solid's own shadow lies on the floor.
    lift = np.clip(at.z / solid.height, 0, 1)
    sky = SKY * (0.5 + 0.5 * faces.z) * (0.8 + 0.2 * lift)
    bounce = BOUNCE * (0.5 - 0.5 * faces.z) * (0.45 + 0.55 * lift)
    view = Vectors(eye.x - at.x, eye.y - at.y, eye.z - at.z).unit()
    half = Vectors(view.x + middle.x, view.y + middle.y, view.z + middle.z).unit()
    gloss = GLOSS * np.maximum(faces.dot(half), 0) ** SHARPNESS * (1 - hidden)
    gloss += SHEEN * (0.5 + 0.5 * faces.z)
    paint = PAINT * linear(NAMED[solid.colour])
    return np.asarray((lamp_lit + sky + bounce)[:, None] * paint + gloss[:, None], np.float32)


def render(
    solids: Sequence[Solid],
    camera: Camera,
    light: Light,
    greys: tuple[float, float],
    size: int = SIZE,
) -> NDArray[np.uint8]:
    """The picture, (size, size, 3) uint8, from 2×2 rays a pixel.

    Args:
        greys: of the floor and the wall where nothing shades them, 0..255.
        size: in pixels, a multiple of 2; the camera's focal length must fit it.
    """
    side = size * STEP
    rays, lamp = camera.rays(size, STEP), light.spread(side)
    depth, met = cast(solids, camera, rays, size, STEP)
    grey = backdrop(solids, camera, light, greys, rays, lamp)
    picture = np.repeat(grey[:, :, None], 3, 2)
    for index, solid in enumerate(solids):
        part = window(camera.project(solid.bounds()), size, STEP)
        mask = met[part] == index + 1
        if not mask.any():
            continue
        points = camera.position.along(rays.at(part), depth[part])
        picture[part][mask] = surface(solids, index, camera, light, (part, mask, points), lamp)
    mean = picture.reshape(size, STEP, size, STEP, 3).mean((1, 3))
    shown = SHOWN[(np.clip(mean, 0, 1) * (len(SHOWN) - 1)).astype(np.int16)]
    return np.asarray(shown, np.uint8)
