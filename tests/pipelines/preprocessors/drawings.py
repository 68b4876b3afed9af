"""Line drawings as people make them: pen, pencil, chalk, photographed paper."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

SMOOTH = 4


def figure(
    size: int = 512, width: float = 4, ground: str = "white", ink: str = "black"
) -> Image.Image:
    """A person and a box, with smooth lines, `width` pixels broad."""
    side, broad = size * SMOOTH, max(1, round(width * SMOOTH))
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)

    def at(*places: float) -> tuple[float, ...]:
        return tuple(side * place for place in places)

    pen.ellipse(at(0.35, 0.1, 0.65, 0.4), outline=ink, width=broad)
    for line in (
        (0.5, 0.4, 0.5, 0.7), (0.5, 0.7, 0.35, 0.95), (0.5, 0.7, 0.65, 0.95), (0.3, 0.55, 0.7, 0.5),
    ):  # fmt: skip
        pen.line(at(*line), fill=ink, width=broad)
    pen.ellipse(at(0.43, 0.2, 0.46, 0.23), fill=ink)
    pen.arc(at(0.42, 0.25, 0.58, 0.35), 20, 160, fill=ink, width=broad)
    pen.rectangle(at(0.05, 0.8, 0.2, 0.95), outline=ink, width=broad)
    return image.resize((size, size))


def photographed(drawing: Image.Image) -> Image.Image:
    """A sheet of paper under a lamp from one side, with a camera's noise."""
    light = np.linspace(0.7, 1, drawing.width)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 4, (drawing.height, drawing.width, 1))
    pixels = np.asarray(drawing, float) * light + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def drawings() -> dict[str, tuple[Image.Image, str]]:
    """Drawings by name, and whether their lines are dark or light."""
    found = {}
    for width in (1, 2, 4, 8, 14, 20):
        found[f"pen of {width} px"] = (figure(width=width), "dark lines")
        found[f"chalk of {width} px"] = (
            figure(width=width, ground="black", ink="white"),
            "light lines",
        )
    found["pencil"] = (figure(width=3, ink="#999"), "dark lines")
    found["faint pencil"] = (figure(width=3, ink="#bbb"), "dark lines")
    found["red pen"] = (figure(ink="#d03030"), "dark lines")
    found["blue ink on yellow paper"] = (figure(ground="#f3e6b0", ink="#204080"), "dark lines")
    found["chalk on a green board"] = (figure(ground="#203028", ink="#d8d8d0"), "light lines")
    found["blueprint"] = (figure(width=3, ground="#1a3f8f", ink="#e8f0ff"), "light lines")
    found["photographed paper"] = (photographed(figure(width=3, ink="#333")), "dark lines")
    found["icon"] = (figure(128, 2), "dark lines")
    found["small icon"] = (figure(64, 1), "dark lines")
    return found
