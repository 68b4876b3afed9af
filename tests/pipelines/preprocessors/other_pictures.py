"""Pictures that are no control maps, though some look a little like one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from skimage import data

from tests.pipelines.preprocessors.drawings import drawings
from tests.pipelines.preprocessors.map_pictures import ROOT, jpeg
from tests.pipelines.preprocessors.photographs import MORE, NAMES, photograph


def pixel_art(seed: int, ground: tuple[int, int, int], colours: int) -> Image.Image:
    """A symmetric creature of 16 × 16 pixels, enlarged."""
    draw = np.random.default_rng(seed)
    palette = [ground, *draw.integers(0, 256, (colours, 3)).tolist()]
    half = draw.choice(len(palette), (16, 8), p=[0.5] + [0.5 / colours] * colours)
    half[0] = half[-1] = half[:, 0] = 0
    whole = np.asarray(palette, np.uint8)[np.concatenate([half, half[:, ::-1]], axis=1)]
    return Image.fromarray(whole).resize((512, 512), Image.Resampling.NEAREST)


def fireworks(seed: int) -> Image.Image:
    """A night with lights of all colours."""
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (512, 512), (6, 6, 14))
    pen = ImageDraw.Draw(image)
    for _ in range(7):
        x, y, reach = *draw.uniform(80, 430, 2), draw.uniform(40, 90)
        colour = tuple(int(v) for v in draw.integers(60, 256, 3))
        for turn in np.linspace(0, 2 * np.pi, 24):
            pen.line(
                (x, y, x + reach * np.cos(turn), y + reach * np.sin(turn)), fill=colour, width=2
            )
    noise = draw.normal(0, 5, (512, 512, 3))
    lit = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), float) + noise
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def city(seed: int) -> Image.Image:
    """Windows and lamps at night."""
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (512, 512), (9, 11, 20))
    pen = ImageDraw.Draw(image)
    for x in range(0, 512, 64):
        top = int(draw.uniform(100, 350))
        pen.rectangle((x, top, x + 60, 512), fill=(22, 22, 28))
        for wy in range(top + 6, 505, 14):
            for wx in range(x + 6, x + 54, 12):
                if draw.uniform() < 0.4:
                    pen.rectangle(
                        (wx, wy, wx + 5, wy + 7), fill=(255, 215, int(draw.uniform(90, 180)))
                    )
    noise = draw.normal(0, 4, (512, 512, 3))
    return Image.fromarray((np.asarray(image, float) + noise).clip(0, 255).astype(np.uint8))


def no_maps() -> Iterator[tuple[str, str, Image.Image]]:
    """Other pictures: a group, a name, the picture."""
    for name in (*NAMES, *MORE):
        photo = photograph(name)
        yield "photographs", name, photo
        yield "photographs, JPEG 50", name, jpeg(photo, 50)
        yield "photographs, black and white", name, photo.convert("L").convert("RGB")
        hard = ImageOps.autocontrast(photo.convert("L"), cutoff=8).convert("RGB")
        yield "photographs, black and white, hard", name, hard
        yield "photographs, dark", name, photo.point(lambda value: value // 5)
        yield "photographs, soft", name, photo.filter(ImageFilter.GaussianBlur(2))
        yield "photographs, negative", name, ImageOps.invert(photo)
    left, right, _ = data.stereo_motorcycle()
    for name, one in (("left", left), ("right", right)):
        yield "photographs", f"motorcycle {name}", Image.fromarray(one)
    for name in ("page", "text", "logo", "colorwheel"):
        yield "scans and charts", name, Image.fromarray(getattr(data, name)()).convert("RGB")
    yield "scans and charts", "horse", Image.fromarray(data.horse()).convert("RGB")
    for name, (one, medium) in drawings().items():
        if medium == "dark lines" and name not in ("pen of 1 px", "pen of 2 px"):
            yield "drawings on paper", name, one
        elif medium == "light lines" and "chalk of" not in name:
            yield "drawings on boards", name, one
    for file in sorted((ROOT / "models").glob("emoji-*/samples.png")):
        sheet = Image.open(file).convert("RGB")
        for x in range(0, sheet.width, 256):
            yield (
                "the shipped models' pictures",
                f"{file.parent.name} {x}",
                sheet.crop((x, 0, x + 256, 256)),
            )
    sheet = Image.open(ROOT / "models/emoji/samples.png").convert("RGB")
    for y in range(40, sheet.height - 128, 131):
        for x in (180, 312, 444):
            yield "the shipped models' pictures", f"{x} {y}", sheet.crop((x, y, x + 128, y + 128))
    for name in ("waving", "solids"):
        one = Image.open(ROOT / f"presets/controls/{name}.png").convert("RGB")
        yield "the shipped models' pictures", name, one
    for seed in range(12):
        yield "pixel art", f"on black {seed}", pixel_art(seed, (0, 0, 0), 1 + seed % 6)
        yield "pixel art", f"on white {seed}", pixel_art(seed, (255, 255, 255), 1 + seed % 6)
        yield "nights", f"fireworks {seed}", fireworks(seed)
        yield "nights", f"city {seed}", city(seed)
        yield "nights", f"city, grey {seed}", city(seed).convert("L").convert("RGB")
    for colour in ("black", "white", "#808080", "#8080ff", "red", "#87ceeb"):
        yield "plain", colour, Image.new("RGB", (512, 512), colour)
    sky = Image.linear_gradient("L").resize((512, 512))
    blue = Image.composite(
        Image.new("RGB", (512, 512), "#87ceeb"), Image.new("RGB", (512, 512), "#2060c0"), sky
    )
    yield "plain", "sky", blue
    for size in ((1, 1), (1, 600), (600, 3), (20, 20)):
        yield "plain", f"{size}", Image.new("RGB", size, "white")
