"""Map recognition: tells whether a picture is a control map already, of which kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Recogniser = Callable[["Image"], "Image | None"]
"""From an RGB picture to the map that it is; None if it is none."""


@dataclass(frozen=True, slots=True)
class MapKind:
    """Kind of map that a picture may be already.

    Attributes:
        module: the file with its recogniser.
        makers: the preprocessors that make such maps, the one that it is called by first.
        what: in words.
        change: what is done to a map in another tool's look, in words.
    """

    module: str
    makers: tuple[str, ...]
    what: str
    change: str = ""


KINDS = (
    MapKind("pose_map", ("pose",), "a skeleton", "its white ground was made black"),
    MapKind("segment_map", ("segmentation",), "a map of segments in ADE20K's colours"),
    MapKind("normal_map", ("normal",), "a map of normals"),
    MapKind(
        "line_map",
        ("canny", "softedge", "scribble", "lineart"),
        "a map of lines",
        "its black lines on white were inverted",
    ),
    MapKind("depth_map", ("depth",), "a map of depth", "its colours were turned into grey"),
)
"""The surest first."""
_LIKE_PHOTOGRAPHS = "depth_map"


@dataclass(frozen=True, slots=True)
class Recognition:
    """Recognised map.

    Attributes:
        like: the preprocessor whose maps it resembles: the one that was asked for, where several
            make such maps.
        map: the picture, or what was made of it so that ControlNets know it, RGB.
        changed: whether that differs from the picture.
    """

    like: str
    map: Image
    changed: bool

    @property
    def text(self) -> str:
        return used_text(self.like, self.changed)


def recognise(picture: Image, preprocessor: str) -> Recognition | None:
    """Recognise a picture that is what a preprocessor would make of one; None if it is not.

    Args:
        picture: RGB.
    """
    kind = _kind(preprocessor)
    return None if kind is None else _found(picture, kind, preprocessor)


def recognise_any(picture: Image) -> Recognition | None:
    """Recognise a map of any kind whose look is its own; a map of depth looks like a photograph."""
    for kind in KINDS:
        if kind.module != _LIKE_PHOTOGRAPHS:
            found = _found(picture, kind, kind.makers[0])
            if found is not None:
                return found
    return None


def used_text(like: str, changed: bool) -> str:
    """Say that a picture is used as the map that it is."""
    kind = _kind(like)
    if kind is None:
        return ""
    how = f"; {kind.change}" if changed else ""
    return f"This picture is {kind.what} already: it is used as it is{how}."


def offered_text(like: str) -> str:
    """Say that a picture, which is used as a picture, looks like a map."""
    kind = _kind(like)
    return "" if kind is None else f"This picture looks like {kind.what} already."


def _kind(preprocessor: str) -> MapKind | None:
    return next((kind for kind in KINDS if preprocessor in kind.makers), None)


def _found(picture: Image, kind: MapKind, like: str) -> Recognition | None:
    recogniser: Recogniser = import_module(f"{__name__}.{kind.module}").recognise
    found = recogniser(picture)
    return None if found is None else Recognition(like, found, found is not picture)
