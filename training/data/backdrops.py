"""Settings drawn by code: plain fields, gradients, and seven places with a horizon.

Everything is decided by the setting's seed, so that a scene is a few numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.colours import NAMED
from training.data.recolour import PAINTS

SIZE = 256
PLACES = ("meadow", "sea", "night", "desert", "snow", "room", "street")
SETTINGS = ("plain", "gradient", *PLACES)

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Setting:
    """Where a scene plays.

    Args:
        kind: one of `SETTINGS`.
        seed: decides every detail of a place.
        colours: of a plain field or a gradient, names of `PAINTS`; "" for a colour without a name.
        horizon: share of the height above the ground; 0 where there is no ground.
    """

    kind: str
    seed: int
    colours: tuple[str, ...] = ()
    horizon: float = 0.0

    @property
    def name(self) -> str:
        """What held-out pairs are made with: the place, or the plain field's colour."""
        return self.colours[0] if self.kind == "plain" else self.kind


def random_setting(kind: str, rng: np.random.Generator) -> Setting:
    """A setting of this kind with everything else at random."""
    seed = int(rng.integers(2**31))
    if kind == "plain":
        named = rng.random() < 0.85
        colour = str(rng.choice(list(NAMED))) if named else ""
        return Setting(kind, seed, (colour,))
    if kind == "gradient":
        first, second = rng.choice(list(PAINTS), 2, replace=False)
        return Setting(kind, seed, (str(first), str(second)))
    return Setting(kind, seed, horizon=float(rng.uniform(0.45, 0.66)))


def draw_setting(setting: Setting) -> Picture:
    """The picture of a setting, (SIZE, SIZE, 3) uint8."""
    rng = np.random.default_rng(setting.seed)
    if setting.kind == "plain":
        name = setting.colours[0]
        colour = NAMED[name] if name else tuple(rng.integers(0, 256, 3))
        return np.full((SIZE, SIZE, 3), colour, np.uint8)
    if setting.kind == "gradient":
        return _gradient(setting, rng)
    return DRAWN[setting.kind](round(setting.horizon * SIZE), rng)


def jitter(colour: Colour, rng: np.random.Generator, amount: float = 12) -> Colour:
    """A colour near this one."""
    red, green, blue = np.clip(np.add(colour, rng.normal(0, amount, 3)), 0, 255)
    return float(red), float(green), float(blue)


def blend(top: Colour, bottom: Colour, height: int, width: int = SIZE) -> Picture:
    """A field that goes from one colour at its top to another at its bottom."""
    share = np.linspace(0, 1, max(height, 1), dtype=np.float32)[:, None, None]
    rows = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return np.repeat(np.rint(rows).astype(np.uint8), width, 1)


def _gradient(setting: Setting, rng: np.random.Generator) -> Picture:
    first, second = (np.asarray(PAINTS[name], np.float32) for name in setting.colours)
    at = np.linspace(0, 1, SIZE, dtype=np.float32)
    x, y = at[None, :], at[:, None]
    if rng.random() < 0.3:
        share = np.hypot(x - 0.5, y - 0.5) / 0.7
    else:
        angle = rng.choice([0, 0.5, 0.5, 0.25, 0.75]) * np.pi
        share = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(np.rint(first * (1 - share) + second * share), np.uint8)


def waves(
    level: float, height: float, rng: np.random.Generator, count: int = 2
) -> NDArray[np.int32]:
    """A smooth outline across the picture and down to its lower edge, as a polygon."""
    x = np.arange(-4, SIZE + 8, 4)
    y = np.full(len(x), level)
    for _ in range(count):
        y = y + height / count * np.sin(
            x / SIZE * 2 * np.pi * rng.uniform(0.4, 1.6) + rng.uniform(0, 6.3)
        )
    corners = [(SIZE + 4, SIZE + 4), (-4, SIZE + 4)]
    outline = np.concatenate([np.stack([x, y], 1), corners])
    return np.asarray(np.rint(outline), np.int32)


def fill(picture: Picture, corners: NDArray[np.int32], colour: Colour) -> None:
    """One filled polygon with smooth edges."""
    cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA)


def cloud(picture: Picture, x: float, y: float, size: float, colour: Colour) -> None:
    """A cloud of four discs on a flat foot."""
    for dx, dy, radius in (
        (-0.55, 0, 0.32),
        (-0.15, -0.22, 0.42),
        (0.3, -0.1, 0.36),
        (0.62, 0.05, 0.26),
    ):
        at = (round(x + dx * size), round(y + dy * size))
        cv2.circle(picture, at, max(1, round(radius * size)), colour, -1, cv2.LINE_AA)
    ends = (round(x - 0.6 * size), round(y)), (round(x + 0.65 * size), round(y + 0.3 * size))
    cv2.rectangle(picture, *ends, colour, -1)


def sky(horizon: int, rng: np.random.Generator, top: Colour, low: Colour, clouds: int) -> Picture:
    """A sky over the whole picture, with clouds in its upper part."""
    picture = blend(jitter(top, rng), jitter(low, rng), horizon)
    picture = np.concatenate([picture, np.repeat(picture[-1:], SIZE - horizon, 0)])
    for _ in range(int(rng.integers(0, clouds + 1))):
        white = float(rng.uniform(238, 255))
        cloud(picture, rng.uniform(0, SIZE), rng.uniform(0.1, 0.75) * horizon,
              rng.uniform(14, 32), (white, white, white))  # fmt: skip
    return picture


def _meadow(horizon: int, rng: np.random.Generator) -> Picture:
    picture = sky(horizon, rng, (120, 190, 245), (205, 232, 250), 3)
    green = jitter((110, 185, 80), rng)
    if rng.random() < 0.6:
        far = (green[0] * 0.85 + 20, green[1] * 0.9 + 10, green[2] * 0.9 + 30)
        fill(picture, waves(horizon - rng.uniform(8, 26), 12, rng), far)
    fill(picture, waves(horizon, 5, rng), green)
    dark = (green[0] * 0.78, green[1] * 0.84, green[2] * 0.74)
    for x, y in rng.uniform((0, horizon + 12), (SIZE, SIZE), (int(rng.integers(15, 45)), 2)):
        blade = 3 + 5 * (y - horizon) / (SIZE - horizon)
        for lean in (-0.5, 0, 0.5):
            ends = (round(x), round(y)), (round(x + lean * blade), round(y - blade))
            cv2.line(picture, *ends, dark, 1, cv2.LINE_AA)
    petals = ((250, 240, 250), (250, 215, 70), (240, 120, 160), (225, 70, 60))
    flowers = int(rng.integers(0, 16))
    for x, y in rng.uniform((0, horizon + 14), (SIZE, SIZE), (flowers, 2)):
        cv2.circle(picture, (round(x), round(y)), 2, petals[rng.integers(4)], -1, cv2.LINE_AA)
    return picture


def _sea(horizon: int, rng: np.random.Generator) -> Picture:
    picture = sky(horizon, rng, (130, 195, 245), (220, 238, 250), 3)
    blue = jitter((35, 120, 190), rng)
    deep = (blue[0] * 0.6, blue[1] * 0.7, blue[2] * 0.8)
    picture[horizon:] = blend(blue, deep, SIZE - horizon)
    for y in range(horizon + 5, SIZE, 9):
        near = (y - horizon) / (SIZE - horizon)
        for x in rng.uniform(0, SIZE, int(rng.integers(2, 5))):
            size = (round(5 + 13 * near), max(1, round(1 + 2.5 * near)))
            light = [min(255.0, c + 40 + 25 * near) for c in blue]
            at = (round(x), round(y + rng.uniform(-3, 3)))
            cv2.ellipse(picture, at, size, 0, 190, 350, light, 1 + (near > 0.5), cv2.LINE_AA)
    return picture


def _night(horizon: int, rng: np.random.Generator) -> Picture:
    top, low = jitter((14, 18, 52), rng, 6), jitter((48, 56, 112), rng, 10)
    picture = blend(top, low, SIZE)
    for x, y in rng.uniform(0, (SIZE, horizon), (int(rng.integers(25, 70)), 2)):
        glow = float(rng.uniform(150, 255))
        radius = int(rng.random() < 0.25)
        cv2.circle(picture, (round(x), round(y)), radius, (glow, glow, glow * 0.9), -1, cv2.LINE_AA)
    radius = int(rng.integers(14, 30))
    x, y = rng.uniform((radius + 4, radius + 4), (SIZE - radius - 4, horizon - radius - 10))
    at, pale = (round(x), round(y)), jitter((246, 238, 200), rng, 6)
    cover = picture.copy()
    cv2.circle(picture, at, radius, pale, -1, cv2.LINE_AA)
    if rng.random() < 0.6:
        side = round(radius * rng.uniform(0.4, 0.8)) * (1 if rng.random() < 0.5 else -1)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.circle(mask, (at[0] + side, at[1] - round(radius * 0.15)), radius, 255, -1, cv2.LINE_AA)
        share = mask[..., None].astype(np.float32) / 255
        picture[:] = np.rint(picture * (1 - share) + cover * share).astype(np.uint8)
    ground = jitter((24, 34, 48), rng, 5)
    fill(picture, waves(horizon, 8, rng), ground)
    return picture


def _desert(horizon: int, rng: np.random.Generator) -> Picture:
    picture = sky(horizon, rng, (140, 200, 240), (250, 226, 180), 0)
    sun = (round(rng.uniform(20, SIZE - 20)), round(rng.uniform(18, horizon * 0.6)))
    if rng.random() < 0.6:
        cv2.circle(picture, sun, int(rng.integers(10, 20)), (255, 240, 170), -1, cv2.LINE_AA)
    sand = jitter((236, 196, 120), rng, 9)
    for step, level in enumerate((horizon - 8, horizon + 6, horizon + 45)):
        share = 0.84 + 0.08 * step
        tone = (sand[0] * share, sand[1] * share, sand[2] * share)
        fill(picture, waves(level, 14, rng), tone)
    dark = (sand[0] * 0.9, sand[1] * 0.86, sand[2] * 0.8)
    for y in rng.uniform(horizon + 30, SIZE, int(rng.integers(3, 8))):
        x, wide = rng.uniform(0, SIZE), rng.uniform(12, 40)
        size = (round(wide), max(2, round(wide * 0.12)))
        cv2.ellipse(picture, (round(x), round(y)), size, 0, 180, 360, dark, 1, cv2.LINE_AA)
    return picture


def _snow(horizon: int, rng: np.random.Generator) -> Picture:
    picture = sky(horizon, rng, (150, 178, 208), (214, 224, 236), 2)
    if rng.random() < 0.5:
        for x in rng.uniform(-20, SIZE, 3):
            wide, high = rng.uniform(60, 110), rng.uniform(30, 70)
            peak = np.array(
                [(x, horizon + 4), (x + wide / 2, horizon - high), (x + wide, horizon + 4)]
            )
            fill(picture, np.rint(peak).astype(np.int32), jitter((170, 186, 208), rng, 6))
    for level, tone in ((horizon - 4, (226, 234, 244)), (horizon + 26, (242, 246, 252))):
        fill(picture, waves(level, 9, rng), jitter(tone, rng, 3))
    for x, y in rng.uniform(0, SIZE, (int(rng.integers(30, 90)), 2)):
        cv2.circle(picture, (round(x), round(y)), int(rng.random() < 0.5) + 1, (255, 255, 255), -1,
                   cv2.LINE_AA)  # fmt: skip
    return picture


def _room(horizon: int, rng: np.random.Generator) -> Picture:
    walls = ((232, 218, 196), (196, 214, 224), (222, 200, 204), (206, 220, 196), (226, 226, 226))
    floors = ((176, 128, 84), (140, 98, 66), (196, 168, 130), (150, 142, 136))
    level = max(horizon, round(0.58 * SIZE))
    picture = np.full((SIZE, SIZE, 3), jitter(walls[rng.integers(5)], rng, 8), np.uint8)
    floor = jitter(floors[rng.integers(4)], rng, 8)
    picture[level:] = np.asarray(floor, np.uint8)
    dark = (floor[0] * 0.86, floor[1] * 0.86, floor[2] * 0.86)
    vanish = SIZE / 2 + rng.uniform(-40, 40)
    for x in range(-SIZE, 2 * SIZE, 40):
        start = (round(vanish + (x - vanish) * 0.55), level)
        cv2.line(picture, start, (x, SIZE), dark, 1, cv2.LINE_AA)
    cv2.rectangle(picture, (0, level - 7), (SIZE, level), (250, 246, 240), -1)
    x, wide, high = (
        int(rng.uniform(10, 170) + 0.5),
        int(rng.integers(46, 76)),
        int(rng.integers(50, 80)),
    )
    y = int(rng.integers(14, 40))
    cv2.rectangle(picture, (x - 4, y - 4), (x + wide + 4, y + high + 4), (250, 248, 244), -1)
    glass = jitter((168, 214, 242), rng, 8)
    cv2.rectangle(picture, (x, y), (x + wide, y + high), glass, -1)
    cv2.line(picture, (x + wide // 2, y), (x + wide // 2, y + high), (250, 248, 244), 3)
    cv2.line(picture, (x, y + high // 2), (x + wide, y + high // 2), (250, 248, 244), 3)
    return picture


def _street(horizon: int, rng: np.random.Generator) -> Picture:
    picture = sky(horizon, rng, (150, 200, 240), (224, 236, 246), 2)
    fronts = ((198, 110, 88), (222, 180, 120), (160, 170, 186), (204, 150, 130), (150, 128, 120))
    x = int(rng.integers(-30, 0))
    while x < SIZE:
        wide, high = int(rng.integers(36, 70)), int(rng.integers(50, 120))
        top = max(6, horizon - high)
        front = jitter(fronts[rng.integers(5)], rng, 10)
        cv2.rectangle(picture, (x, top), (x + wide - 1, horizon), front, -1)
        lit = jitter((250, 232, 170) if rng.random() < 0.5 else (90, 110, 140), rng, 8)
        for wy in range(top + 8, horizon - 16, 20):
            for wx in range(x + 7, x + wide - 12, 16):
                cv2.rectangle(picture, (wx, wy), (wx + 8, wy + 11), lit, -1)
        x += wide
    pavement = min(SIZE - 20, horizon + 14)
    picture[horizon:pavement] = np.asarray(jitter((190, 188, 184), rng, 5), np.uint8)
    picture[pavement:] = np.asarray(jitter((92, 94, 100), rng, 5), np.uint8)
    middle = (pavement + SIZE) // 2
    for x in range(int(rng.integers(-20, 0)), SIZE, 48):
        cv2.rectangle(picture, (x, middle - 2), (x + 26, middle + 2), (236, 232, 214), -1)
    return picture


DRAWN: dict[str, Callable[[int, np.random.Generator], Picture]] = {
    "meadow": _meadow,
    "sea": _sea,
    "night": _night,
    "desert": _desert,
    "snow": _snow,
    "room": _room,
    "street": _street,
}
