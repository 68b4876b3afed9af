"""Renderer of composed scenes: the picture and its exact maps.

The maps of a scene are
- "segments": (SIZE, SIZE) uint8, 0 for the setting, i + 1 for `scene.things[i]` where it is seen;
- "order": (SIZE, SIZE) uint8, the same in the painter's order: 0 for the setting, 1 for the
  backmost thing, higher is nearer.
Edges are found in the picture by `samples.edges`, as for every domain.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.backdrops import PLACES, SIZE, draw_setting
from training.data.bank import Bank, straight
from training.data.composition import HATS, LIGHTS, Scene, Thing
from training.data.placement import Box
from training.data.recolour import recoloured
from training.data.samples import Sample

Picture = NDArray[np.uint8]
# Of alpha: from here on a pixel belongs to the thing.
SOLID = 128
SHADOW = 0.28


def sprite_pixels(bank: Bank, thing: Thing) -> Picture:
    """The thing at its size, mirrored and painted, (h, w, 4), multiplied by alpha."""
    cut = bank.cut(thing.row)
    size = (max(2, round(thing.box.width * SIZE)), max(2, round(thing.box.height * SIZE)))
    way = cv2.INTER_AREA if size[0] < cut.shape[1] else cv2.INTER_LINEAR
    sized: Picture = np.asarray(cv2.resize(cut, size, interpolation=way), np.uint8)
    if thing.paint:
        seen = sized[..., 3] > 0
        colours = recoloured(straight(sized)[seen], bank.sprites[thing.row].main, thing.paint)
        alpha = sized[seen][:, 3:].astype(np.uint16)
        sized[seen, :3] = ((colours * alpha + 127) // 255).astype(np.uint8)
    if thing.mirrored:
        sized = np.ascontiguousarray(sized[:, ::-1])
    return sized


def turned(pixels: Picture, degrees: float) -> Picture:
    """The sprite turned about its middle, in as large a field as it needs."""
    if abs(degrees) < 0.5:
        return pixels
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
    wide, high = (int(np.ceil(a)) for a in (
        width * cosine + height * sine, width * sine + height * cosine
    ))  # fmt: skip
    turn[:, 2] += (wide - width) / 2, (high - height) / 2
    return np.asarray(cv2.warpAffine(pixels, turn, (wide, high)), np.uint8)


def worn_box(bank: Bank, thing: Thing, row: int) -> Box:
    """Where a face wears a hat or glasses: the hat over its brow, the glasses over its eyes."""
    box, sprite = thing.box, bank.sprites[row]
    slim = sprite.height / sprite.width
    if thing.worn in HATS:
        wide = box.width * (0.62 if thing.worn in ("crown", "top hat") else 0.8)
        high = wide * slim
        return Box(box.x, box.y - box.height / 2 + 0.19 * box.height - high / 2, wide, high)
    wide = box.width * 0.74
    return Box(box.x, box.y - 0.06 * box.height, wide, wide * slim)


def _dressed(bank: Bank, thing: Thing) -> tuple[Picture, Box]:
    """The pixels of a thing with what it wears, and the box that they fill."""
    pixels, box = sprite_pixels(bank, thing), thing.box
    if not thing.worn:
        return pixels, box
    sprite = bank.sprites[thing.row]
    row = bank.rows[thing.worn, sprite.style][0]
    worn = worn_box(bank, thing, row)
    upper = sprite_pixels(bank, replace(thing, row=row, box=worn, paint="", worn=""))
    top = min(box.y - box.height / 2, worn.y - worn.height / 2)
    whole = Box(box.x, (top + box.y + box.height / 2) / 2, box.width,
                box.y + box.height / 2 - top)  # fmt: skip
    canvas = np.zeros((round(whole.height * SIZE) + 1, pixels.shape[1], 4), np.uint8)
    height, width = pixels.shape[:2]
    canvas[-height:] = pixels
    h, w = upper.shape[:2]
    y = round((worn.y - worn.height / 2 - top) * SIZE)
    x = max(0, (width - w) // 2)
    y = min(y, len(canvas) - h)
    part = canvas[y : y + h, x : x + w]
    part[:] = over(upper[:, : part.shape[1]], part)
    return canvas, whole


def over(upper: Picture, lower: Picture) -> Picture:
    """Pixels multiplied by alpha laid over others, (h, w, 3 or 4).

    Math: c = a + b·(1 − α_a)
    """
    rest = 255 - upper[..., 3:].astype(np.uint16)
    channels = lower.shape[2]
    mixed = upper[..., :channels] + (lower * rest + 127) // 255
    return np.asarray(np.minimum(mixed, 255), np.uint8)


def _window(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of the picture, then of a sprite, where the sprite lies in the picture."""
    height, width = shape[:2]
    y, x = round(box.y * SIZE - height / 2), round(box.x * SIZE - width / 2)
    top, left = max(y, 0), max(x, 0)
    low, right = min(y + height, SIZE), min(x + width, SIZE)
    return (
        slice(top, max(low, top)),
        slice(left, max(right, left)),
        slice(top - y, max(low, top) - y),
        slice(left - x, max(right, left) - x),
    )


def _shadow(picture: Picture, box: Box) -> None:
    """A soft flat shadow under a thing."""
    wide, high = max(2, round(box.width * SIZE * 0.45)), max(1, round(box.width * SIZE * 0.07))
    x, y = round(box.x * SIZE), round((box.y + box.height / 2) * SIZE) - high // 3
    top, low = max(0, y - 2 * high - 2), min(SIZE, y + 2 * high + 3)
    if top >= low:
        return
    mask = np.zeros((low - top, SIZE), np.uint8)
    cv2.ellipse(mask, (x, y - top), (wide, high), 0, 0, 360, 255, -1)
    soft = 2 * (high // 2) + 1
    blurred = cv2.GaussianBlur(mask, (soft, soft), 0)
    share = 1 - SHADOW * blurred[..., None].astype(np.float32) / 255
    picture[top:low] = (picture[top:low] * share).astype(np.uint8)


def draw_scene(bank: Bank, scene: Scene, caption: str = "") -> Sample:
    """The picture (SIZE, SIZE, 3) of a scene, with its maps."""
    picture = draw_setting(scene.setting)
    segments, order = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    for depth, number in enumerate(scene.order, 1):
        thing = scene.things[number]
        pixels, box = _dressed(bank, thing)
        foot = box.y + box.height / 2
        if scene.shadows and not thing.turn and foot > scene.setting.horizon + 0.02:
            _shadow(picture, box)
        pixels = turned(pixels, thing.turn)
        rows, columns, own_rows, own_columns = _window(box, pixels.shape)
        part = pixels[own_rows, own_columns]
        picture[rows, columns] = over(part, picture[rows, columns])
        seen = part[..., 3] >= SOLID
        segments[rows, columns][seen] = number + 1
        order[rows, columns][seen] = depth
    if scene.setting.kind in PLACES and scene.light:
        lit = picture * np.asarray(LIGHTS[scene.light], np.float32)
        picture = np.minimum(lit, 255).astype(np.uint8)
    return Sample(picture, caption, {"segments": segments, "order": order})
