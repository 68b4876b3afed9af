"""LoRA of a Request as frozen data: a low-rank change of a model's weights, and its scale.

Nothing here loads torch; `pipelines.checkpoints.lora_state_dict` does what these say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipelines.request.base import FrozenModel, Number

NONE = "none"
"""A value of a `lora` axis: the picture without it."""

MOST = 8
"""LoRAs of one picture at most."""
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_SCALED = re.compile(
    rf"^(?P<name>.+?)(?::(?P<text_scale>{_NUMBER}))?:(?P<scale>{_NUMBER})$", re.DOTALL
)


class LoRA(FrozenModel):
    """One LoRA with its scale; also read from text, `NAME`, `NAME:SCALE` or `NAME:TEXT:SCALE`.

    Math: W' = W + scale · (alpha / r) · B·A
    Attributes:
        name: id below the models folders, or a path.
        text_scale: its scale in text encoders; None where it is `scale`.
    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    error_prefix: ClassVar[str] = "LoRA "

    name: str = Field(min_length=1, description="it must name a LoRA")
    scale: Number = Field(1.0, ge=-4.0, le=4.0, description="it must be a number from -4 to 4")
    text_scale: Number | None = Field(
        None, ge=-4.0, le=4.0, description="it must be a number from -4 to 4"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        match = _SCALED.match(data)
        return {"name": data} if match is None else match.groupdict()

    @model_validator(mode="after")
    def _one_scale_once(self) -> LoRA:
        if self.text_scale == self.scale:
            return self.model_copy(update={"text_scale": None})
        return self

    @model_serializer(mode="wrap")
    def _omit_no_text_scale(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Added later: without it, the addresses of older pictures stay.
        fields: dict[str, Any] = handler(self)
        return {k: v for k, v in fields.items() if k != "text_scale" or v is not None}

    def __str__(self) -> str:
        scale = f"{self.scale:g}"
        return f"{self.name}:{scale if self.text_scale is None else f'{self.text_scale:g}:{scale}'}"

    def scale_in(self, component: str) -> float:
        """Look up its scale in a component of a model, by its name in `model_index.json`."""
        of_texts = component.startswith("text_encoder") and self.text_scale is not None
        return self.text_scale or 0.0 if of_texts else self.scale

    @property
    def acts(self) -> bool:
        """Whether it changes any weights."""
        return bool(self.scale or self.text_scale)

    @property
    def text(self) -> str:
        """Shortest text that is read as this LoRA."""
        told = _SCALED.match(self.name) is not None
        if self.text_scale is None and not told:
            return self.name if self.scale == 1.0 else f"{self.name}:{self.scale!r}"
        first = self.scale if self.text_scale is None else self.text_scale
        return f"{self.name}:{first!r}:{self.scale!r}"


State = tuple[LoRA, ...]
"""What is added to a model's weights, in order."""


def put_lora(before: LoRA | None, changes: Mapping[str, Any]) -> LoRA | None:
    """Change name or scales of a LoRA, as axes do; None if the name is "none".

    A name keeps the scale of the LoRA whose place it takes, unless it says one.
    Raises: InvalidRequest: if a value is out of range.
    """
    one = before
    if "name" in changes:
        text = str(changes["name"])
        one = None if text == NONE else LoRA.model_validate(text)
        if one is not None and before is not None and _SCALED.match(text) is None:
            one = before.model_copy(update={"name": one.name})
    scales = {name: changes[name] for name in ("scale", "text_scale") if name in changes}
    if scales and one is not None:
        one = LoRA(**{**one.model_dump(), **scales})
    return one
