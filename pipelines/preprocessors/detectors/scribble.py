"""Scribble: draws a picture's main lines broad and white on black, as with a marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.picture_medium import medium_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


LADDER = (32, 24, 18, 13, 10, 7, 5)
"""Thresholds to choose from, the usual one first: fainter ones are for soft pictures."""
LINES = 0.005
"""Share of thin edges, at 512 pixels, that the main lines of a picture have at least."""
FAINTEST, STRONGEST = 8, 64
"""Thresholds for lines that are chosen by the picture lie between."""


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Detect the outlines of things, or the lines that they are drawn with, and broaden them.

    A photograph or a painting has outlines; a drawing has lines already, and of a line the
    outlines are two. "auto" looks which it is.
    """
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture)
    scale = min(picture.size) / 512
    find = parameters["find"]
    if find == "auto":
        find = {"other": "outlines"}.get(medium := medium_of(picture), medium)
    if find == "light lines":
        pixels = 255 - pixels
    draw = _outlines if find == "outlines" else _dark_lines
    drawn = draw(pixels, parameters["threshold"], max(1.0, 5 * scale))
    broad = round(parameters["thickness"] * scale)
    if broad > 1:
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (broad, broad))
        drawn = np.asarray(cv2.dilate(drawn, brush), np.uint8)
    return Image.fromarray(drawn)


def _outlines(pixels: NDArray[np.uint8], threshold: int, sigma: float) -> NDArray[np.uint8]:
    """Canny's edges of the smoothed picture: a marker follows no hair and no grass.

    Threshold 0 takes the first of LADDER that finds the main lines.
    Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851.
    """
    import cv2
    import numpy as np

    smooth = cv2.GaussianBlur(pixels, (0, 0), sigma)
    enough = LINES * 512 / min(pixels.shape[:2])
    edges = np.zeros(pixels.shape[:2], np.uint8)
    for strength in (threshold,) if threshold else LADDER:
        edges = np.asarray(cv2.Canny(smooth, 2 * strength, 4 * strength), np.uint8)
        if (edges > 0).mean() >= enough:
            break
    return edges


def _dark_lines(pixels: NDArray[np.uint8], threshold: int, sigma: float) -> NDArray[np.uint8]:
    """White where a difference of Gaussians says that a pixel is darker than around.

    Threshold 0 takes 0.6 of the strongest hundredth, so that faint pencil counts as ink does.
    Math: min over channels of (G_σ * x − G_{σ/10} * x) > threshold/2, σ = 5 at 512 pixels.
    Source: Winnemöller 2011, "XDoG", doi:10.1145/2024676.2024700.
    """
    import cv2
    import numpy as np

    whole = pixels.astype(np.float32)
    fine = cv2.GaussianBlur(whole, (0, 0), sigma / 10)
    coarse = cv2.GaussianBlur(whole, (0, 0), sigma)
    darker = np.min(coarse - fine, axis=2)
    if not threshold:
        strongest = 0.6 * float(np.percentile(darker, 99))
        threshold = round(min(max(strongest, FAINTEST), STRONGEST))
    return np.where(2 * darker > threshold, 255, 0).astype(np.uint8)


PREPROCESSOR = Preprocessor(
    name="scribble",
    label="Scribble",
    help="A rough sketch: only the main lines, broad. Leaves the model the most freedom.",
    detect=detect,
    cost="about 20 ms",
    edited_as="edge",
    source="Canny 1986, doi:10.1109/TPAMI.1986.4767851; "
    "Winnemöller 2011, doi:10.1145/2024676.2024700",
    parameters=(
        Parameter(
            "find", "Find", "choice", "auto",
            "Outlines of things in a photograph or painting; dark lines of a sketch on paper; "
            "light lines of chalk on a board; auto looks which of them it is.",
            choices=("auto", "outlines", "dark lines", "light lines"),
        ),
        Parameter(
            "threshold", "Threshold", "int", 0,
            "Lower values find more lines; 0 = by the picture, so that its main lines are there.",
            low=0, high=128,
        ),
        Parameter(
            "thickness", "Thickness", "int", 8, "How far lines are broadened, in pixels of 512.",
            low=1, high=32,
        ),
    ),
)  # fmt: skip
