"""Maps for ControlNets: made from a picture by a preprocessor, each once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.controls import Control
from pipelines.errors import ModelUnavailable, UnknownName
from pipelines.shelf import Shelf

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_BYTES = 256 * 2**20
"""Maps that stay in memory may have so many bytes; the oldest go first."""

_Key = tuple[str, str, tuple[tuple[str, Any], ...], tuple[int, int]]


class Preprocessors(Protocol):
    """What makes maps from pictures."""

    def names(self) -> list[str]:
        """Ids of all there are."""

    def problem(self, name: str) -> str | None:
        """Why one cannot run here, and what to do; None if it can."""

    def check_parameters(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters in their canonical form. Raises: InvalidRequest, UnknownName."""

    def run(
        self, name: str, image: Image, parameters: Mapping[str, Any], size: tuple[int, int]
    ) -> Image:
        """A map of exactly this size, RGB. Raises: ContactSheetError: saying what is missing."""


def preprocessors() -> Preprocessors:
    """The registry of preprocessors."""
    registry: Any = import_module("pipelines.preprocessors")
    found: Preprocessors = registry
    return found


def check_preprocessor(control: Control) -> Control:
    """The control with its preprocessor's parameters in canonical form.

    Raises: UnknownName, InvalidRequest: saying what is allowed.
        ModelUnavailable: if it cannot run here.
    """
    registry = preprocessors()
    known = registry.names()
    if control.preprocessor not in known:
        raise UnknownName.of(
            "preprocessor", control.preprocessor, known, f"known: {', '.join(known)}"
        )
    problem = registry.problem(control.preprocessor)
    if problem is not None:
        raise ModelUnavailable(problem)
    given = dict(control.parameters)
    return control.replace(parameters=registry.check_parameters(control.preprocessor, given))


class Maps:
    """Maps of controls, each made once while it is remembered. Any thread may ask.

    Attributes:
        made: how many were made.
    """

    def __init__(self, shelf: Shelf, kept_bytes: int = KEPT_BYTES) -> None:
        self.made = 0
        self._shelf = shelf
        self._kept_bytes = kept_bytes
        self._known: OrderedDict[_Key, Image] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, control: Control, size: tuple[int, int]) -> Image:
        """The map of a control at a picture's (width, height), RGB; not to be changed.

        Raises: ContactSheetError: if the picture or the preprocessor's weights are not here.
        """
        key = (control.image, control.preprocessor, control.parameters, size)
        with self._lock:  # also so that nothing is made twice at the same time
            if key not in self._known:
                picture = self._shelf.get(control.image)
                self._known[key] = preprocessors().run(
                    control.preprocessor, picture, dict(control.parameters), size
                )
                self.made += 1
            self._known.move_to_end(key)
            image = self._known[key]
            while len(self._known) > 1 and self._bytes() > self._kept_bytes:
                self._known.popitem(last=False)
        return image

    def _bytes(self) -> int:
        return sum(3 * image.width * image.height for image in self._known.values())
