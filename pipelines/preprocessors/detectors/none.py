"""Identity: takes a picture that is a control map already and resizes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Preprocessor

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Return the picture itself."""
    return picture


PREPROCESSOR = Preprocessor(
    name="none",
    label="None: this is already a map",
    help="Takes the picture as it is; only its size changes.",
    detect=detect,
    cost="nothing",
    edited_as="guess",
    sized_by="result",
)
