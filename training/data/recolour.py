"""Recolouring of a drawing in a perceptual space, its light and shade kept.

Only the drawing's main colour changes: a blue apple keeps its brown stem and its green leaf.
Source: Ottosson 2020, "A perceptual color space for image processing" (OKLab).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.data.colours import NAMED

Array = NDArray[np.float32]
Colour = tuple[float, float, float]

PAINTS: dict[str, tuple[int, int, int]] = {
    **NAMED,
    "brown": (125, 80, 45),
    "grey": (140, 140, 145),
}
TO_LINEAR = (np.linspace(0, 1, 256) ** 2.2).astype(np.float32)
FROM_LINEAR = np.rint(255 * np.linspace(0, 1, 4096) ** (1 / 2.2)).astype(np.uint8)
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
FROM_CONES = np.linalg.inv(TO_CONES.astype(np.float64)).astype(np.float32)
FROM_LAB = np.linalg.inv(TO_LAB.astype(np.float64)).astype(np.float32)
# Of chroma: what is greyer has no hue.
GREY = 0.04
NEAR, FAR = np.radians(38), np.radians(62)
# The share of a drawing that its main colour must have to be changed.
LEAST_SHARE = 0.3
# Of distances in OKLab: what lies farther from every paint is not called by its name.
NAMED_WITHIN = 0.13


@dataclass(frozen=True)
class MainColour:
    """The colour that most of a drawing has.

    Args:
        lab: its mean in OKLab.
        share: of the opaque pixels.
        grey: whether it has no hue.
    """

    lab: Colour
    share: float
    grey: bool

    @property
    def changes(self) -> bool:
        """Whether enough of the drawing has it for another to take its place."""
        return self.share >= LEAST_SHARE

    @property
    def name(self) -> str | None:
        """The paint it looks like; None where the drawing has several or it lies between two."""
        if self.share < 0.5:
            return None
        away = {name: _distance(self.lab, lab) for name, lab in PAINT_LABS.items()}
        first, second = sorted(away, key=away.__getitem__)[:2]
        clear = away[first] < NAMED_WITHIN and away[first] * 1.3 < away[second]
        return first if clear else None


def oklab(rgb: ArrayLike) -> Array:
    """Bytes (..., 3) in OKLab, float32."""
    cones = TO_LINEAR[np.asarray(rgb, np.uint8)] @ TO_CONES.T
    return np.asarray(np.cbrt(cones) @ TO_LAB.T, np.float32)


def srgb(lab: Array) -> NDArray[np.uint8]:
    """OKLab (..., 3) as bytes; what no screen shows is clipped."""
    light = ((lab @ FROM_LAB.T) ** 3) @ FROM_CONES.T
    return np.asarray(FROM_LINEAR[(light.clip(0, 1) * 4095).astype(np.int16)], np.uint8)


def _lab_of(rgb: tuple[int, int, int]) -> Colour:
    light, a, b = (float(value) for value in oklab(rgb))
    return light, a, b


PAINT_LABS: dict[str, Colour] = {name: _lab_of(rgb) for name, rgb in PAINTS.items()}


def _distance(a: Colour, b: Colour) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))


def smooth(values: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, without a corner between."""
    x = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def main_colour(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> MainColour:
    """The main colour of a drawing: its most frequent hue, or grey where more has none.

    Args:
        rgb: (H, W, 3), not multiplied by alpha.
        alpha: (H, W).
    """
    lab = oklab(rgb[alpha > 200])
    if not len(lab):
        return MainColour((0.0, 0.0, 0.0), 0.0, True)
    chroma, hue = np.hypot(lab[:, 1], lab[:, 2]), np.arctan2(lab[:, 2], lab[:, 1])
    tinted = chroma > GREY
    counts, _ = np.histogram(hue[tinted], 36, (-np.pi, np.pi), weights=chroma[tinted])
    around = sum(np.roll(counts, shift) for shift in (-2, -1, 0, 1, 2))
    peak = (int(np.argmax(around)) + 0.5) * np.pi / 18 - np.pi
    near = tinted & (np.abs(_turn(hue - peak)) < NEAR)
    grey = not near.any() or (near.mean() < LEAST_SHARE and (~tinted).mean() > near.mean())
    chosen = ~tinted & (lab[:, 0] > 0.25) if grey else near
    if not chosen.any():
        chosen = ~tinted
    mean = lab[chosen].mean(0)
    return MainColour(
        (float(mean[0]), float(mean[1]), float(mean[2])), float(chosen.mean()), bool(grey)
    )


def _turn(angle: NDArray[np.floating]) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi, np.float32)


def recoloured(rgb: NDArray[np.uint8], main: MainColour, paint: str) -> NDArray[np.uint8]:
    """The drawing with its main colour turned into a named paint.

    Math: lightness goes piecewise linearly (0, L̄, 1) → (0, L_paint, 1); a, b become the paint's,
    in proportion to the pixel's own chroma over the mean one, less towards black and white.
    Args:
        rgb: (..., 3) bytes, not multiplied by alpha.
        paint: a key of `PAINTS`.
    """
    lab = oklab(rgb)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    mean = float(np.clip(main.lab[0], 0.05, 0.95))
    aim = np.clip(PAINT_LABS[paint], (0.12, -1, -1), (0.97, 1, 1))
    if main.grey:
        weight = 1 - smooth(chroma, GREY, 2 * GREY)
        if mean > 0.5:
            weight *= smooth(light, 0.12, 0.32)
        strength = np.ones_like(light)
    else:
        off = np.abs(_turn(np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(*main.lab[:0:-1])))
        weight = (1 - smooth(off, NEAR, FAR)) * smooth(chroma, 0.02, GREY)
        strength = np.clip(chroma / max(float(np.hypot(*main.lab[1:])), GREY), 0.3, 1.4)
    brighter = aim[0] + (light - mean) * (1 - aim[0]) / (1 - mean)
    new_light = np.where(light > mean, brighter, light * aim[0] / mean)
    room = np.minimum((1 - new_light) / (1 - aim[0]), new_light / aim[0])
    strength = strength * np.clip(room, 0, 1.2)
    new = np.stack([new_light, aim[1] * strength, aim[2] * strength], -1).astype(np.float32)
    return srgb(lab + weight[..., None] * (new - lab))
