"""Preprocessor registry: lists preprocessors and runs them, from picture to control map.

    from pipelines import preprocessors
    edges = preprocessors.run("canny", picture, {"low": 80}, (512, 512))

One file each. To add one, write it and name it in `_MODULES`; the page, the command line and the
tests read the registry. Importing this loads neither torch nor cv2 nor PIL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest, ModelUnavailable, UnknownName
from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.detectors.pose import find_skeletons
from pipelines.preprocessors.map_cache import CacheStats, MapCache, key_of
from pipelines.preprocessors.map_remarks import remark
from pipelines.preprocessors.resize import (
    Placement,
    Size,
    own_size,
    place,
    put,
    resample,
    working_size,
)
from pipelines.preprocessors.skeletons import Skeleton, draw_skeletons
from pipelines.utils.threads import run_in_short_lived_thread

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CacheStats",
    "Parameter",
    "Preprocessor",
    "Skeleton",
    "asks_for_nothing",
    "available",
    "cache_stats",
    "check_parameters",
    "describe",
    "draw_skeletons",
    "find_people",
    "find_skeletons",
    "names",
    "problem",
    "remark",
    "run",
]

_MODULES = (
    *("canny", "softedge", "scribble", "lineart", "pose", "depth", "normal", "segmentation"),
    *("color", "tile", "shuffle", "none"),
)
"""The files, in the order of menus; a file's name is its preprocessor's."""
SIDE_MAX = 8192
OWN_SIDE_MAX = 1024
"""Networks are shown pictures no larger than this; they look at less."""
CACHE_BYTES = 256 * 2**20
_WHERE = "python app.py preprocessors lists them"
_cache = MapCache(CACHE_BYTES)


def names() -> list[str]:
    """List the preprocessors, in the order of menus."""
    return list(_MODULES)


@cache
def describe(name: str) -> Preprocessor:
    """Look up a preprocessor's row: label, help, cost and parameters. Raises: UnknownName."""
    if name not in _MODULES:
        raise UnknownName.of("preprocessor", name, _MODULES, _WHERE)
    row: Preprocessor = import_module(f"{__name__}.detectors.{name}").PREPROCESSOR
    return row


def problem(name: str) -> str | None:
    """Say why one cannot run here, and what to do; None if it can. Raises: UnknownName."""
    weights = describe(name).weights
    return None if weights is None else weights.problem()


def available(name: str) -> bool:
    """Tell whether one can run here. Raises: UnknownName."""
    return problem(name) is None


def check_parameters(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Canonicalise parameters: fill in defaults, so that equal settings are equal.

    Raises: UnknownName: for a preprocessor or parameter there is not.
        InvalidRequest: for a value out of range.
    """
    return describe(name).canonical(parameters)


def run(name: str, image: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Run a preprocessor: the control map of a picture, RGB, of exactly this size.

    The same picture, parameters and size are computed once; see `cache_stats`.
    Args:
        size: width and height in pixels.
    Raises: UnknownName, InvalidRequest: for what cannot be asked.
        ModelUnavailable: if weights are missing: which file, which folder, which command.
    """
    from pipelines.utils.images import content_hash, flatten

    picture = flatten(image)
    return run_named(content_hash(picture), lambda: picture, name, parameters, size)


def run_named(
    picture: str,
    look: Callable[[], Image],
    name: str,
    parameters: Mapping[str, Any],
    size: Size,
) -> Image:
    """Run a preprocessor on a picture that is loaded only if its map is not cached.

    Args:
        picture: its hash, as `content_hash` gives it.
        look: the picture, RGB.
    """
    row = describe(name)
    settings = row.canonical(parameters)
    if not all(isinstance(side, int) and 1 <= side <= SIDE_MAX for side in size):
        raise InvalidRequest(f"size is {size}; width and height must be 1 to {SIDE_MAX} pixels")
    reason = problem(name)
    if reason is not None:
        raise ModelUnavailable(reason)
    return _cache.get(
        key_of(picture, name, settings, size),
        lambda: run_in_short_lived_thread(lambda: _make(row, look(), settings, size)),
    )


def asks_for_nothing(name: str, made: Image) -> bool:
    """Tell whether a map of lines, joints or depth is all black. One of colours may be."""
    marks = describe(name).edited_as in ("edge", "pose", "depth", "guess")
    return marks and made.getbbox() is None


def cache_stats() -> CacheStats:
    """Count what the cache of maps did in this process: runs, hits and bytes kept."""
    return _cache.stats()


def find_people(image: Image, parameters: Mapping[str, Any], size: Size) -> tuple[Skeleton, ...]:
    """Find the people of a pose map: joints in shares of the map, as `run("pose", …)` draws them.

    Raises: as `run`.
    """
    from pipelines.utils.images import flatten

    row = describe("pose")
    settings = row.canonical(parameters)
    seen, placement = _look(row, flatten(image), settings, size)
    found = run_in_short_lived_thread(
        lambda: find_skeletons(seen, settings["people"], settings["visibility"])
    )
    return tuple(person.placed(placement, size) for person in found)


def _make(row: Preprocessor, picture: Image, settings: Mapping[str, Any], size: Size) -> Image:
    seen, placement = _look(row, picture, settings, size)
    found = row.detect(seen, settings, placement.size)
    return put(resample(found, placement.size, row.blends), placement, size, row.background)


def _look(
    row: Preprocessor, picture: Image, settings: Mapping[str, Any], size: Size
) -> tuple[Image, Placement]:
    """The part of a picture that a preprocessor looks at, and where it lies on the map."""
    placement = place(picture.size, size, settings["resize"])
    # Detectors look at the picture alone: padding would have edges of its own.
    if row.sized_by == "picture":
        looked_at = own_size(placement.source, OWN_SIDE_MAX)
    else:
        looked_at = working_size(placement.size, settings.get("resolution", 0))
    return resample(picture, looked_at, box=placement.source), placement
