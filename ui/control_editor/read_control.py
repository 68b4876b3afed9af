"""Control reader: turns the form's fields of one control into the Control they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipelines import ContactSheetError, Control, InvalidRequest, Studio, preprocessors
from pipelines.checkpoints import controlnets
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.request.axis_grammar import parse_values
from ui.control_editor.availability import empty_map
from ui.control_editor.map_editor import guess_kind
from ui.control_editor.map_state import MapState, Size, map_of


@dataclass(frozen=True, slots=True)
class ControlValues:
    """Values of one control's fields, as the page has them: not checked yet.

    Attributes:
        map: a MapState as JSON.
        model: a ControlNet's id, or ANY_MODEL.
        strength: one number or several, as text.
    """

    on: Any
    map: Any
    strength: Any
    model: Any
    start: Any
    stop: Any
    mode: Any


@dataclass(frozen=True, slots=True)
class ControlFields:
    """Names of the form's fields of one control: `control1_on`, `control1_map` and so on.

    Attributes:
        number: counts from 1; errors name it too.
    """

    number: int

    def name(self, value: str) -> str:
        """Name the form's field of one of the ControlValues."""
        return f"control{self.number}_{value}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.name(one.name) for one in fields(ControlValues))

    def read(self, form: Mapping[str, Any]) -> ControlValues:
        """Pick this control's values from those of a whole form."""
        return ControlValues(
            **{one.name: form[self.name(one.name)] for one in fields(ControlValues)}
        )


def read_control(
    number: int, values: ControlValues, size: Size, nets: Sequence[ModelInfo], studio: Studio
) -> tuple[Control, tuple[float, ...]] | None:
    """Read the control that the form asks for and its strengths; None if it is off.

    Args:
        number: counts from 1; errors name it.
        nets: the ControlNets that fit the model.

    Raises: ContactSheetError: for the first value that is not possible.
    """
    if not values.on:
        return None
    state = MapState.read(values.map, studio)
    if state.image is None:
        raise InvalidRequest(
            f"control {number} has no picture; upload one, pick an example, "
            "or switch the control off"
        )
    try:
        strengths = parse_values("control_strength", str(values.strength))
        control = Control(
            **state.source,
            strength=strengths[0],
            start=values.start,
            stop=values.stop,
            mode=values.mode,
        )
        for strength in strengths:
            control.replace(strength=strength)  # each in its range, said before anything is made
    except ContactSheetError as error:
        raise type(error)(f"control {number}: {error}") from None
    name = values.model or _choose_net(number, state, nets)
    map = map_of(state, size, studio)
    if preprocessors.asks_for_nothing(state.preprocessor, map):
        kind = preprocessors.describe(state.preprocessor).edited_as
        raise empty_map(number, guess_kind(map, state.like) if kind == "guess" else kind)
    return control.replace(model=name), tuple(float(value) for value in strengths)


def _choose_net(number: int, state: MapState, nets: Sequence[ModelInfo]) -> str:
    try:
        return controlnets.choose(state.like or state.preprocessor, "", nets)
    except InvalidRequest:
        raise InvalidRequest(
            f"which ControlNet follows map {number} is not clear; choose one under “How it "
            f"acts”: {', '.join(info.id for info in nets)}"
        ) from None
