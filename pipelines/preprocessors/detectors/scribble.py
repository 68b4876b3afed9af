"""Scribble: draws a picture's main lines broad and white on black, as with a marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Detect the outlines of things, or the lines that they are drawn with, and broaden them.

    A photograph or a painting has outlines; a pencil sketch has lines already, and of a line the
    outlines are two.
    """
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture)
    scale = min(picture.size) / 512
    find = _outlines if parameters["find"] == "outlines" else _dark_lines
    drawn = find(pixels, parameters["threshold"], max(1.0, 5 * scale))
    broad = round(parameters["thickness"] * scale)
    if broad > 1:
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (broad, broad))
        drawn = np.asarray(cv2.dilate(drawn, brush), np.uint8)
    return Image.fromarray(drawn)


def _outlines(pixels: NDArray[np.uint8], threshold: int, sigma: float) -> NDArray[np.uint8]:
    """Canny's edges of the smoothed picture: a marker follows no hair and no grass.

    Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851.
    """
    import cv2
    import numpy as np

    smooth = cv2.GaussianBlur(pixels, (0, 0), sigma)
    return np.asarray(cv2.Canny(smooth, 2 * threshold, 4 * threshold), np.uint8)


def _dark_lines(pixels: NDArray[np.uint8], threshold: int, sigma: float) -> NDArray[np.uint8]:
    """White where a difference of Gaussians says that a pixel is darker than around.

    Math: min over channels of (G_σ * x − G_{σ/10} * x) > threshold/2, σ = 5 at 512 pixels.
    Source: Winnemöller 2011, "XDoG", doi:10.1145/2024676.2024700.
    """
    import cv2
    import numpy as np

    whole = pixels.astype(np.float32)
    fine = cv2.GaussianBlur(whole, (0, 0), sigma / 10)
    coarse = cv2.GaussianBlur(whole, (0, 0), sigma)
    darker = np.min(coarse - fine, axis=2)
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
            "find", "Find", "choice", "outlines",
            "Outlines of things in a photograph or painting; dark lines of a sketch on paper.",
            choices=("outlines", "dark lines"),
        ),
        Parameter(
            "threshold", "Threshold", "int", 32, "Lower values find more lines.", low=1, high=128
        ),
        Parameter(
            "thickness", "Thickness", "int", 8, "How far lines are broadened, in pixels of 512.",
            low=1, high=32,
        ),
    ),
)  # fmt: skip
