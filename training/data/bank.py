"""Bank of drawings with transparency, rendered once, that scenes are put together from.

Emoji drawings, drawn people and single ray-cast solids all become sprites: cut to what is seen,
longer side `SIDE` px. Colours are multiplied by alpha, so that they may be resized.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data import drawings, figures, solids
from training.data.colours import NAMED
from training.data.drawings import STYLES
from training.data.kinds import Noun, load_nouns
from training.data.lighting import Light, render
from training.data.outlines import Shape
from training.data.poses import POSES, joints
from training.data.rays import KINDS as SOLIDS
from training.data.rays import Camera, Solid, cast
from training.data.recolour import MainColour, main_colour
from training.data.samples import PLAIN

SIDE = 224
FIGURES = 1200
SOLID_VIEWS = 10
# A solid is rendered at this size and then cut: it fills 85 % of the inner part at most.
SOLID_SIZE = 256
STYLE_FREE = "drawn"


@dataclass(frozen=True)
class Sprite:
    """One drawing of the bank.

    Args:
        row: of the bank's pixels.
        label: of the concept; "person" and the solid's kind for what is made by code.
        style: one of `STYLES`, or `STYLE_FREE`.
        height, width: in pixels, the longer `SIDE`.
        main: its main colour.
        said: of a person, what follows the noun: pose and clothes.
        paint: of a solid, its colour.
    """

    row: int
    label: str
    style: str
    height: int
    width: int
    main: MainColour
    said: str = ""
    paint: str = ""


@dataclass(frozen=True)
class Bank:
    """All sprites.

    Args:
        pixels: (N, SIDE, SIDE, 4) uint8, multiplied by alpha, the sprite in the upper left corner.
        sprites: N of them.
        nouns: what the concepts are called, by label.
    """

    pixels: NDArray[np.uint8]
    sprites: tuple[Sprite, ...]
    nouns: dict[str, Noun]

    @cached_property
    def rows(self) -> dict[tuple[str, str], list[int]]:
        """The sprites of each (label, style)."""
        found: dict[tuple[str, str], list[int]] = {}
        for sprite in self.sprites:
            found.setdefault((sprite.label, sprite.style), []).append(sprite.row)
        return found

    @cached_property
    def natural(self) -> dict[str, frozenset[str]]:
        """The paints that the drawings of each concept have of themselves."""
        found: dict[str, set[str]] = {}
        for sprite in self.sprites:
            name = sprite.paint or sprite.main.name
            if name:
                found.setdefault(sprite.label, set()).add(name)
        return {label: frozenset(names) for label, names in found.items()}

    def cut(self, row: int) -> NDArray[np.uint8]:
        """One sprite, (height, width, 4), multiplied by alpha."""
        sprite = self.sprites[row]
        return self.pixels[row, : sprite.height, : sprite.width]


def fitted(rgba: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The visible part with colours times alpha, longer side `SIDE`; None where nothing is seen.

    Args:
        rgba: (H, W, 4), not multiplied by alpha.
    """
    ys, xs = np.nonzero(rgba[..., 3] > 8)
    if not len(ys):
        return None
    part = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.float32)
    part[..., :3] *= part[..., 3:] / 255
    scale = SIDE / max(part.shape[:2])
    width, height = (max(1, round(side * scale)) for side in part.shape[1::-1])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(part, (width, height), interpolation=way).clip(0, 255)
    sized[..., :3] = np.minimum(sized[..., :3], sized[..., 3:])
    return np.asarray(np.rint(sized), np.uint8)


def straight(cut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours of pixels multiplied by alpha, (H, W, 3)."""
    alpha = np.maximum(cut[..., 3:], 1).astype(np.uint16)
    full = (cut[..., :3].astype(np.uint16) * 255 + alpha // 2) // alpha
    return np.asarray(np.minimum(full, 255), np.uint8)


def figure_sprite(number: int) -> tuple[NDArray[np.uint8], str]:
    """A drawn person on nothing, (H, W, 4) with alpha apart, and what it does and wears."""
    figure = figures.random_figure(np.random.default_rng((17, number)))
    at = joints(
        POSES[figure.pose], figure.arms, figure.legs, figure.turn, figure.lean,
        figure.nod, figure.build,
    )  # fmt: skip
    shapes: list[Shape] = figures.person_shapes(figure, at)[1:]
    corners = np.concatenate([shape.corners for shape in shapes])
    low, high = corners.min(0) - 0.01, corners.max(0) + 0.01
    scale = 2 * SIDE / float((high - low).max())
    width, height = (int(np.ceil(v)) for v in (high - low) * scale)
    size = width, height
    colours, alpha = Image.new("RGB", size), Image.new("L", size)
    for shape in shapes:
        outline = ((shape.corners - low) * scale).ravel().tolist()
        ImageDraw.Draw(colours).polygon(outline, fill=shape.colour)
        ImageDraw.Draw(alpha).polygon(outline, fill=255)
    rgba = np.dstack([np.asarray(colours), np.asarray(alpha)])
    text = figures.caption(figure, PLAIN, np.random.default_rng(0)).split(", on ")[0]
    said = text.removeprefix("a ").removeprefix("an ").removeprefix("person ")
    return np.asarray(rgba, np.uint8), said


def solid_sprite(kind: str, paint: str, number: int) -> NDArray[np.uint8]:
    """One solid on nothing, (H, W, 4) with alpha apart."""
    rng = np.random.default_rng((19, SOLIDS.index(kind), list(NAMED).index(paint), number))
    solid = Solid(kind, paint, 0.0, 0.0, 0.55, float(rng.uniform(0, 90)))
    small = Camera(float(rng.uniform(17, 34)), 6.5, solid.height / 2, 1.0, (0.0, 0.0))
    corners = small.project(solid.bounds())
    low, high = corners.min(0), corners.max(0)
    focal = 0.9 * SOLID_SIZE / float((high - low).max())
    middle = SOLID_SIZE / 2 - focal * (low + high) / 2
    camera = Camera(
        small.elevation, small.distance, small.target, focal, (float(middle[0]), float(middle[1]))
    )
    side = 1 if rng.random() < 0.5 else -1
    light = Light(side * float(rng.uniform(25, 75)), float(rng.uniform(44, 56)))
    pixels = render([solid], camera, light, (223.0, 241.0), SOLID_SIZE)
    met = cast([solid], camera, camera.rays(SOLID_SIZE, 2), SOLID_SIZE, 2)[1]
    alpha = cv2.resize((met > 0).astype(np.float32) * 255, (SOLID_SIZE,) * 2,
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    # Pixels on the outline hold floor too; the nearest colour inside takes their place.
    inside = cv2.erode((alpha > 250).astype(np.uint8), np.ones((3, 3), np.uint8))
    grown = cv2.inpaint(pixels, 255 - inside * 255, 3, cv2.INPAINT_TELEA) if not inside.all() else 0
    colours = np.where(inside[..., None] > 0, pixels, grown)
    return np.asarray(np.dstack([colours, np.rint(alpha)]), np.uint8)


def _emoji(nouns: tuple[Noun, ...], packages: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """(label, style, picture) of every drawing that is wanted."""
    code_of = {e["label"]: code for code, e in drawings.entries(packages).items()}
    wanted = {code_of[noun.label]: noun.label for noun in nouns}
    for style in STYLES:
        made = drawings.pictures if style == "3d" else drawings.vectors
        for code, image in sorted(made(style, packages), key=lambda pair: pair[0]):
            if code in wanted:
                yield wanted[code], style, image


def _rendered(cache: Path) -> Iterator[tuple[NDArray[np.uint8], dict[str, str]]]:
    """Every picture with alpha apart, and what is known of it."""
    for label, style, image in _emoji(load_nouns(), cache / "packages"):
        yield np.asarray(image, np.uint8), {"label": label, "style": style}
    for number in range(FIGURES):
        rgba, said = figure_sprite(number)
        yield rgba, {"label": "person", "style": STYLE_FREE, "said": said}
    for kind in SOLIDS:
        for paint in NAMED:
            for number in range(SOLID_VIEWS):
                known = {"label": kind, "style": STYLE_FREE, "paint": paint}
                yield solid_sprite(kind, paint, number), known


def load_bank(cache: Path) -> Bank:
    """The bank, rendered on the first call (two minutes) and memory-mapped afterwards.

    Args:
        cache: keeps `bank.npy` and `bank.json`, and the packages' tarballs.
    """
    pixel_file, index_file = cache / "bank.npy", cache / "bank.json"
    if not (pixel_file.exists() and index_file.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        rows: list[NDArray[np.uint8]] = []
        found: list[dict[str, object]] = []
        for rgba, known in _rendered(cache):
            cut = fitted(rgba)
            if cut is None:
                continue
            height, width = cut.shape[:2]
            canvas = np.zeros((SIDE, SIDE, 4), np.uint8)
            canvas[:height, :width] = cut
            main = main_colour(straight(cut), cut[..., 3])
            found.append({"row": len(rows), **known, "height": height, "width": width,
                          "main": asdict(main)})  # fmt: skip
            rows.append(canvas)
        np.save(pixel_file, np.stack(rows))
        index_file.write_text(json.dumps(found))
    index = json.loads(index_file.read_text())
    sprites = [
        Sprite(**(e | {"main": MainColour(tuple(e["main"]["lab"]), e["main"]["share"],
                                          e["main"]["grey"])}))
        for e in index
    ]  # fmt: skip
    nouns = {noun.label: noun for noun in load_nouns()}
    nouns["person"] = Noun("person", "figure", ("person", "figure"), plural="people")
    for kind in SOLIDS:
        other = solids.OTHER_WORDS.get(kind)
        names = (kind, other) if other else (kind,)
        nouns[kind] = Noun(kind, "solid", names, plural=f"{kind}s")
    return Bank(np.load(pixel_file, mmap_mode="r"), tuple(sprites), nouns)
