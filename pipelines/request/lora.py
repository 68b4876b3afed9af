"""LoRAs: small files that change a model's weights, as frozen data.

Nothing here loads torch; `pipelines.checkpoints.lora_state_dict` does what these say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from pipelines.errors import InvalidRequest
from pipelines.request.base import Frozen, Number

if TYPE_CHECKING:
    from pipelines.request.request import Request

NONE = "none"
"""A value of a `lora` axis: the picture without it."""

MOST = 8
_SCALED = re.compile(r"^(?P<name>.+):(?P<scale>[+-]?(?:\d+(?:\.\d*)?|\.\d+))$", re.DOTALL)


class LoRA(Frozen):
    """One change of a model's weights; also read from text, `NAME` or `NAME:SCALE`.

    Math: W' = W + scale · (alpha / r) · B·A
    Attributes:
        name: id below the models folders, or a path.
    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    spoken: ClassVar[str] = "LoRA "

    name: str = Field(min_length=1, description="it must name a LoRA")
    scale: Number = Field(1.0, ge=-4.0, le=4.0, description="it must be a number from -4 to 4")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        match = _SCALED.match(data)
        return {"name": data} if match is None else match.groupdict()

    def __str__(self) -> str:
        return f"{self.name}:{self.scale:g}"

    @property
    def text(self) -> str:
        """As short as it is read again."""
        plain = self.scale == 1.0 and _SCALED.match(self.name) is None
        return self.name if plain else f"{self.name}:{self.scale!r}"


State = tuple[LoRA, ...]
"""What is added to a model's weights, in order."""

_AXIS = re.compile(rf"^lora([2-{MOST}]?)(_scale)?$")
LORA_FIELDS = ("lora", "lora_scale")
"""The axes of a Request's first LoRA; those of its second are `lora2` and `lora2_scale`."""


def lora_field(axis: str) -> tuple[int, str] | None:
    """Which LoRA (from 0) and which of its fields an axis changes; None for other axes."""
    match = _AXIS.match(axis)
    if match is None:
        return None
    return int(match[1] or 1) - 1, "scale" if match[2] else "name"


def value_type(axis: str) -> type[float] | type[str] | None:
    """What the values of a LoRA's axis are; None for other axes."""
    found = lora_field(axis)
    return None if found is None else float if found[1] == "scale" else str


def changed(loras: Sequence[LoRA], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a Request's fields, from changes that may name its LoRAs' fields.

    A name keeps the scale of the LoRA whose place it takes, unless it says one; "none" takes the
    LoRA away, and its scale with it.
    Raises: InvalidRequest: if a LoRA that is to change is not there, or a value is out of range.
    """
    rest = dict(changes)
    places: list[LoRA | None] = list(loras)
    # "lora" comes before "lora_scale", and "lora2" before "lora3".
    fields = sorted((found, axis) for axis in changes if (found := lora_field(axis)) is not None)
    for (number, field), axis in fields:
        value = rest.pop(axis)
        if field == "name":
            if number > len(places):
                raise _missing(axis, number, len(places))
            _put(places, number, str(value))
        elif number >= len(places):
            raise _missing(axis, number, len(places))
        elif (one := places[number]) is not None:
            places[number] = LoRA(name=one.name, scale=value)
    if fields:
        rest["loras"] = tuple(one for one in places if one is not None)
    return rest


def _put(places: list[LoRA | None], number: int, text: str) -> None:
    before = places[number] if number < len(places) else None
    new = None if text == NONE else LoRA.model_validate(text)
    if new is not None and before is not None and _SCALED.match(text) is None:
        new = LoRA(name=new.name, scale=before.scale)
    places[number : number + 1] = [new]


def _missing(axis: str, number: int, there: int) -> InvalidRequest:
    return InvalidRequest(
        f"axis {axis!r} changes LoRA {number + 1}, but there "
        f"{'is' if there == 1 else 'are'} {there or 'no'} LoRA{'' if there == 1 else 's'}; "
        "add it, or leave the axis out"
    )


def lora_state(request: Request) -> State:
    """What changes the weights for a Request: its LoRAs without those of scale 0."""
    return tuple(one for one in request.loras if one.scale)


def lora_names(request: Request) -> tuple[str, ...]:
    """The LoRAs that a Request needs, each once, in order."""
    return tuple(dict.fromkeys(one.name for one in lora_state(request)))
