"""Control maps: runs a control's preprocessor on its picture and checks the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines import preprocessors
from pipelines.errors import InvalidRequest, ModelUnavailable, UnknownName
from pipelines.request.control import NONE, Control
from pipelines.runs.image_store import ImageStore

if TYPE_CHECKING:
    from PIL.Image import Image


def check_preprocessor(control: Control) -> Control:
    """Check a control's preprocessor, and bring its parameters into canonical form.

    Raises: UnknownName, InvalidRequest: saying what is allowed.
        ModelUnavailable: if it cannot run here.
    """
    known = preprocessors.names()
    if control.preprocessor not in known:
        raise UnknownName.of(
            "preprocessor", control.preprocessor, known, f"known: {', '.join(known)}"
        )
    problem = preprocessors.problem(control.preprocessor)
    if problem is not None:
        raise ModelUnavailable(problem)
    given = dict(control.parameters)
    return control.replace(parameters=preprocessors.check_parameters(control.preprocessor, given))


class Maps:
    """Control maps of stored pictures, cached by the preprocessors. Any thread may ask."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    def of(self, control: Control, size: tuple[int, int]) -> Image:
        """Make or look up the map of a control at a picture's (width, height), RGB.

        Raises: ContactSheetError: if the picture or the preprocessor's weights are not here.
        """
        return preprocessors.run_named(
            control.image,
            lambda: self._images.get(control.image),
            control.preprocessor,
            dict(control.parameters),
            size,
        )

    def asked(self, control: Control, size: tuple[int, int]) -> Image:
        """Make the map as `of` does, and refuse an empty one, which no ControlNet can follow.

        Raises: ContactSheetError: as `of`; InvalidRequest: if the map is empty.
        """
        made = self.of(control, size)
        if preprocessors.asks_for_nothing(control.preprocessor, made):
            by = "" if control.preprocessor == NONE else f" that {control.preprocessor} made"
            why = preprocessors.remark(control.preprocessor, made)
            raise InvalidRequest(
                f"the map{by} of picture {control.image[:8]} is empty (all black), so it asks for "
                f"nothing; take another picture, or leave the control out. {why}".rstrip()
            )
        return made
