"""Colour grid: reduces a picture to a coarse grid of mean colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Average colours over squares; along a side, as many as fit best."""
    from PIL.Image import Resampling

    side = min(picture.size) / parameters["cells"]
    grid = (max(1, round(picture.width / side)), max(1, round(picture.height / side)))
    return picture.resize(grid, Resampling.BOX).resize(picture.size, Resampling.NEAREST)


PREPROCESSOR = Preprocessor(
    name="color",
    label="Colour grid",
    help="Keeps the colours where they are and forgets all shapes.",
    detect=detect,
    cost="a few milliseconds",
    edited_as="segment",
    source="Mou et al. 2023, arXiv:2302.08453 (the colour adapter)",
    blends=False,
    parameters=(
        Parameter(
            "cells", "Cells", "int", 8, "Squares along the shorter side.", low=1, high=128
        ),
    ),
)  # fmt: skip
