"""Maps for ControlNets: made from a picture by a preprocessor, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import InvalidRequest, ModelUnavailable, UnknownName
from pipelines.request.control import NONE, Control
from pipelines.runs.image_store import Shelf

if TYPE_CHECKING:
    from PIL.Image import Image


class Preprocessors(Protocol):
    """What makes maps from pictures."""

    def names(self) -> list[str]:
        """Ids of all there are."""

    def problem(self, name: str) -> str | None:
        """Why one cannot run here, and what to do; None if it can."""

    def check_parameters(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters in their canonical form. Raises: InvalidRequest, UnknownName."""

    def run_named(
        self,
        picture: str,
        look: Callable[[], Image],
        name: str,
        parameters: Mapping[str, Any],
        size: tuple[int, int],
    ) -> Image:
        """A map of exactly this size, RGB. Raises: ContactSheetError: saying what is missing."""

    def asks_for_nothing(self, name: str, made: Image) -> bool:
        """Whether a map of lines, joints or depth is all black."""


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
    """Maps of controls on pictures of a shelf. The registry keeps them. Any thread may ask."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def of(self, control: Control, size: tuple[int, int]) -> Image:
        """The map of a control at a picture's (width, height), RGB.

        Raises: ContactSheetError: if the picture or the preprocessor's weights are not here.
        """
        return preprocessors().run_named(
            control.image,
            lambda: self._shelf.get(control.image),
            control.preprocessor,
            dict(control.parameters),
            size,
        )

    def asked(self, control: Control, size: tuple[int, int]) -> Image:
        """As `of`, for a ControlNet to follow.

        Raises: ContactSheetError: as `of`; InvalidRequest: if the map is empty.
        """
        made = self.of(control, size)
        if preprocessors().asks_for_nothing(control.preprocessor, made):
            by = "" if control.preprocessor == NONE else f" that {control.preprocessor} made"
            raise InvalidRequest(
                f"the map{by} of picture {control.image[:8]} is empty (all black), so it asks for "
                "nothing; take another picture, or leave the control out"
            )
        return made
