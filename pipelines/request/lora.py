"""LoRA of a Request as frozen data: a low-rank change of a model's weights, and its scale.

Nothing here loads torch; `pipelines.checkpoints.lora_state_dict` does what these say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from pipelines.request.base import FrozenModel, Number

NONE = "none"
"""A value of a `lora` axis: the picture without it."""

MOST = 8
"""LoRAs of one picture at most."""
_SCALED = re.compile(r"^(?P<name>.+):(?P<scale>[+-]?(?:\d+(?:\.\d*)?|\.\d+))$", re.DOTALL)


class LoRA(FrozenModel):
    """One LoRA with its scale; also read from text, `NAME` or `NAME:SCALE`.

    Math: W' = W + scale · (alpha / r) · B·A
    Attributes:
        name: id below the models folders, or a path.
    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    error_prefix: ClassVar[str] = "LoRA "

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
        """Shortest text that is read as this LoRA."""
        plain = self.scale == 1.0 and _SCALED.match(self.name) is None
        return self.name if plain else f"{self.name}:{self.scale!r}"


State = tuple[LoRA, ...]
"""What is added to a model's weights, in order."""


def put_lora(before: LoRA | None, changes: Mapping[str, Any]) -> LoRA | None:
    """Change name or scale of a LoRA, as axes do; None if the name is "none".

    A name keeps the scale of the LoRA whose place it takes, unless it says one.
    Raises: InvalidRequest: if a value is out of range.
    """
    one = before
    if "name" in changes:
        text = str(changes["name"])
        one = None if text == NONE else LoRA.model_validate(text)
        if one is not None and before is not None and _SCALED.match(text) is None:
            one = LoRA(name=one.name, scale=before.scale)
    if "scale" in changes and one is not None:
        one = LoRA(name=one.name, scale=changes["scale"])
    return one
