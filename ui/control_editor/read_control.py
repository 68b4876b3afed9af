"""From what the form says of one control to the Control it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import ContactSheetError, Control, InvalidRequest, Studio, preprocessors
from pipelines.checkpoints import controlnets
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.request.axis_grammar import parse_values
from ui.control_editor.availability import empty_map
from ui.control_editor.map_editor import guess_kind
from ui.control_editor.map_state import MapState, Size, map_of

FIELDS = ("on", "map", "model", "strength", "start", "stop", "mode")
"""What the form has of a control."""


def read_control(
    number: int, given: Mapping[str, Any], size: Size, nets: Sequence[ModelInfo], studio: Studio
) -> tuple[Control, tuple[float, ...]] | None:
    """The control that the form asks for and its strengths; None if it is off.

    Args:
        number: counts from 1; errors name it.
        given: the values of FIELDS.
        nets: the ControlNets that fit the model.

    Raises: ContactSheetError: for the first value that is not possible.
    """
    if not given["on"]:
        return None
    state = MapState.read(given["map"], studio)
    if state.image is None:
        raise InvalidRequest(
            f"control {number} has no picture; upload one, pick an example, "
            "or switch the control off"
        )
    try:
        strengths = parse_values("control_strength", str(given["strength"]))
        control = Control(
            **state.source,
            strength=strengths[0],
            **{name: given[name] for name in ("start", "stop", "mode")},
        )
        for strength in strengths:
            control.replace(strength=strength)  # each in its range, said before anything is made
    except ContactSheetError as error:
        raise type(error)(f"control {number}: {error}") from None
    name = given["model"] or _net(number, state, nets)
    map = map_of(state, size, studio)
    if preprocessors.asks_for_nothing(state.preprocessor, map):
        kind = preprocessors.describe(state.preprocessor).edited_as
        raise empty_map(number, guess_kind(map) if kind == "guess" else kind)
    return control.replace(model=name), tuple(float(value) for value in strengths)


def _net(number: int, state: MapState, nets: Sequence[ModelInfo]) -> str:
    try:
        return controlnets.choose(state.like or state.preprocessor, "", nets)
    except InvalidRequest:
        raise InvalidRequest(
            f"which ControlNet follows map {number} is not clear; choose one under “How it "
            f"acts”: {', '.join(info.id for info in nets)}"
        ) from None
