"""Tile: blurs a picture, whose fine detail the model is to make anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Shrink a picture by `down` and enlarge it again."""
    from PIL.Image import Resampling

    down = parameters["down"]
    if down == 1:
        return picture
    small = (max(1, round(picture.width / down)), max(1, round(picture.height / down)))
    return picture.resize(small, Resampling.BOX).resize(picture.size, Resampling.BICUBIC)


PREPROCESSOR = Preprocessor(
    name="tile",
    label="Tile",
    help="Keeps the picture and lets the model add detail. Larger steps down leave more to it.",
    detect=detect,
    cost="a few milliseconds",
    source="Zhang's ControlNet 1.1, tile",
    parameters=(
        Parameter(
            "down", "Step down", "float", 2.0, "How many times smaller the detail that is lost is.",
            low=1.0, high=16.0,
        ),
    ),
)  # fmt: skip
