"""Map remarks: says in words when a map holds nearly nothing, or is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

NOBODY = (
    "Nobody was found in this picture: people are found in photographs, seldom in drawings. Start "
    "with a standing figure on the ControlNet tab and drag its joints, or give a picture "
    "of a skeleton."
)
_SPARSE = {
    "canny": "lower both thresholds, or take Scribble, which suits itself to the picture",
    "softedge": "take Scribble, which suits itself to the picture",
    "scribble": "lower the threshold",
    "lineart": "take Scribble, which suits itself to the picture",
}
_DENSE = {
    "canny": "raise both thresholds or the blur",
    "softedge": "take Scribble, which keeps the main lines alone",
    "scribble": "raise the threshold, or lower the thickness",
    "lineart": "lower the width, or take Scribble, which keeps the main lines alone",
}
FEWEST = {"canny": 0.5, "softedge": 0.5, "scribble": 1.0, "lineart": 0.3}
MOST = {"canny": 25.0, "softedge": 40.0, "scribble": 45.0, "lineart": 45.0}
"""Percent of a map of lines that is bright; fine lines of a map of 512 pixels."""
BRIGHT = 100
ONE_CLASS = 98.0
"""Percent of a map of segments that one class may cover before nothing else is asked for."""
FLAT = 6
"""Greys, or degrees of a colour, between the extremes of a map of surfaces that has none."""


def remark(name: str, made: Image) -> str:
    """Say what is odd about a map that a preprocessor made, and what to do; "" if nothing is.

    Args:
        name: the preprocessor's.
        made: the map, RGB.
    """
    if name == "pose":
        return "" if made.getbbox() else NOBODY
    if name in FEWEST:
        return _of_lines(name, made)
    if name in ("depth", "normal") and _spread(made) <= FLAT:
        return "This map is flat: no depth was found in the picture, so it asks for nothing."
    if name == "segmentation":
        colours = made.getcolors(2**24) or []
        share = 100 * max((count for count, _ in colours), default=0) / (made.width * made.height)
        if share >= ONE_CLASS:
            return (
                "The whole picture is one segment, so this map says little; take another picture."
            )
    return ""


def _of_lines(name: str, made: Image) -> str:
    grey = made.convert("L")
    bright = sum(grey.histogram()[BRIGHT:])
    share = 100 * bright / (grey.width * grey.height)
    # Lines of one pixel are a larger share of a smaller map.
    fine = share * max(128, *grey.size) / 512
    if fine < FEWEST[name] * 0.999:
        much = "Nothing" if not bright else f"Almost nothing ({share:.1g} %)"
        return f"{much} is drawn in this map: {_SPARSE[name]}."
    if share > MOST[name]:
        return f"{share:.0f} % of this map is lines, so it says little: {_DENSE[name]}."
    return ""


def _spread(made: Image) -> int:
    return max(high - low for low, high in made.convert("RGB").getextrema())  # type: ignore[misc]
