"""Control treatment: uses a control's picture that is a map already as it is, and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.checkpoints import controlnets
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.errors import ContactSheetError, InvalidRequest
from pipelines.preprocessors import asks_for_nothing, remark
from pipelines.preprocessors.recognition import offered_text, recognise
from pipelines.request.control import NONE, Control
from pipelines.utils.images import content_hash

if TYPE_CHECKING:
    from PIL.Image import Image

TREATMENTS = ("auto", "picture", "map")
"""What a control's picture may be said to be; auto: a map if it looks like one."""


@dataclass(frozen=True, slots=True)
class Treated:
    """A control with the picture that it names, and what is to be said about them.

    Attributes:
        note: "" if nothing.
    """

    control: Control
    picture: Image
    note: str = ""


def check_treatment(treat_as: object) -> str:
    """Check what a picture is said to be. Raises: InvalidRequest."""
    if treat_as not in TREATMENTS:
        raise InvalidRequest(
            f"treat_as is {str(treat_as)[:60]!r}; it must be one of {', '.join(TREATMENTS)}"
        )
    return str(treat_as)


def treat(
    control: Control, picture: Image, treat_as: str, nets: Sequence[ModelInfo], model: str
) -> Treated:
    """Use a picture that is what its preprocessor would make of one as it is.

    Args:
        treat_as: one of TREATMENTS; with "map", no look is taken.
        nets: the ControlNets that fit the model, of which one must follow the map; without, the
            control stays as it is.
    Raises: InvalidRequest: for another `treat_as`.
    """
    if check_treatment(treat_as) == "picture" or control.preprocessor == NONE:
        return Treated(control, picture)
    found = recognise(picture, control.preprocessor)
    if found is None and treat_as != "map":
        return Treated(control, picture)
    try:
        net = control.model or controlnets.choose(control.preprocessor, model, nets)
    except ContactSheetError:
        note = "" if found is None else f"{offered_text(found.like)} Name its ControlNet (model=…)."
        return Treated(control, picture, note)
    map = picture if found is None else found.map
    parameters = {
        name: value for name, value in dict(control.parameters).items() if name == "resize"
    }
    used = control.replace(
        image=content_hash(map), preprocessor=NONE, parameters=parameters, model=net
    )
    if treat_as == "map" or found is None:
        return Treated(used, map)
    return Treated(used, map, f"{found.text} treat_as=picture makes a map of it instead.")


def remark_on(control: Control, make: Callable[[Control], Image]) -> str:
    """Say what is odd about a control's map; "" for nothing, or where the run will say it.

    Args:
        make: makes its map, which is cached, so that the run does not make it again.
    """
    try:
        made = make(control)
    except ContactSheetError:
        return ""
    return (
        "" if asks_for_nothing(control.preprocessor, made) else remark(control.preprocessor, made)
    )
