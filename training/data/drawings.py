"""Emoji drawings as 128×128 RGBA arrays, rendered once and kept in one file.

Each drawing is cut to its visible part, scaled so that its longer side is 112 px and centred, so
that eight pixels (one latent) of plain background are left on every side.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data import sources

SIZE = 128
INNER = 112
RENDER = 256
STYLES = ("3d", "flat", "noto")
COMPONENT_GROUP = 2
FLAG_GROUP = 9


@dataclass(frozen=True)
class Drawings:
    """Rendered drawings, and what each shows.

    Args:
        pixels: (N, 128, 128, 4) uint8, straight alpha; may be memory-mapped.
        keys: for each row, (hexcode, style).
        names: by hexcode, the emojibase entry (label, tags, group, subgroup).
    """

    pixels: NDArray[np.uint8]
    keys: list[tuple[str, str]]
    names: dict[str, dict[str, Any]]


def plain_code(hexcode: str) -> str:
    """A hexcode in lower case without variation selectors, equal across the packages."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def centre(image: Image.Image) -> Image.Image:
    """The visible part of an RGBA image, its longer side 112 px, centred on 128×128."""
    premultiplied = image.convert("RGBa")
    box = image.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        return Image.new("RGBA", (SIZE, SIZE))
    cut = premultiplied.crop(box)
    scale = INNER / max(cut.size)
    width, height = (max(1, round(side * scale)) for side in cut.size)
    cut = cut.resize((width, height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBa", (SIZE, SIZE))
    canvas.paste(cut, ((SIZE - width) // 2, (SIZE - height) // 2))
    return canvas.convert("RGBA")


def compose(
    rgba: NDArray[np.uint8], background: tuple[float, float, float] | NDArray[np.float32]
) -> NDArray[np.float32]:
    """The drawing over a plain background.

    Math: c = α·drawing + (1 − α)·background
    Args:
        rgba: (..., H, W, 4) uint8.
        background: RGB in 0..255.
    Returns: (..., H, W, 3) float32 in 0..255.
    """
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = alpha * rgba[..., :3] + (1 - alpha) * np.asarray(background, np.float32)
    return np.asarray(mixed, np.float32)


def moved(rgba: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The drawing mirrored at random, scaled by 0.6 to 1.15 and shifted a little."""
    image = Image.fromarray(rgba).convert("RGBa")
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    side = round(SIZE * rng.uniform(0.6, 1.15))
    x, y = (round((SIZE - side) / 2 + rng.normal() * 8) for _ in range(2))
    canvas = Image.new("RGBa", (SIZE, SIZE))
    canvas.paste(image.resize((side, side), Image.Resampling.BICUBIC), (x, y))
    return np.asarray(canvas.convert("RGBA"), np.uint8)


def vectors(key: str, folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every icon of an iconify package that stands for an emoji: (plain code, picture)."""
    import resvg_py

    icons = sources.read_json(key, folder, "icons.json")
    width, height = icons.get("width", 16), icons.get("height", 16)
    for code, name in sources.read_json(key, folder, "chars.json").items():
        name = icons.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons["icons"].get(name)
        if icon is None:
            continue
        w, h = icon.get("width", width), icon.get("height", height)
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" '
            f'width="{w}" height="{h}">{icon["body"]}</svg>'
        )
        png = resvg_py.svg_to_bytes(svg_string=svg, width=RENDER, skip_system_fonts=True)
        yield plain_code(code), Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def pictures(key: str, folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every WebP picture of the 3D package: (plain code, picture)."""
    for path, data in sources.read_members(key, folder, ".webp").items():
        yield plain_code(Path(path).stem), Image.open(io.BytesIO(data)).convert("RGBA")


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The emojibase entries by plain code, without components, flags of places and skin tones."""
    data = sources.read_json("names", folder, "en/data.json")
    kept = [e for e in data if e.get("group", COMPONENT_GROUP) != COMPONENT_GROUP]
    return {
        plain_code(e["hexcode"]): {k: e[k] for k in ("label", "tags", "group", "subgroup")}
        for e in kept
        if e["group"] != FLAG_GROUP or len(e["hexcode"].split("-")) != 2
    }


def load_drawings(cache: Path, packages: Path | None = None) -> Drawings:
    """All drawings, rendered on the first call (about a minute) and memory-mapped afterwards.

    Args:
        cache: folder that keeps `drawings.npy` and `drawings.json`.
        packages: folder with the npm tarballs; `cache/packages` if None.
    """
    packages = packages or cache / "packages"
    pixel_file, key_file = cache / "drawings.npy", cache / "drawings.json"
    if not (pixel_file.exists() and key_file.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        names = entries(packages)
        keys: list[tuple[str, str]] = []
        rows: list[NDArray[np.uint8]] = []
        for style in STYLES:
            made = pictures if style == "3d" else vectors
            for code, image in sorted(made(style, packages), key=lambda pair: pair[0]):
                if code in names:
                    keys.append((code, style))
                    rows.append(np.asarray(centre(image), np.uint8))
        np.save(pixel_file, np.stack(rows))
        key_file.write_text(json.dumps({"keys": keys, "names": names}))
    index = json.loads(key_file.read_text())
    return Drawings(
        pixels=np.load(pixel_file, mmap_mode="r"),
        keys=[(code, style) for code, style in index["keys"]],
        names=index["names"],
    )
