"""ControlNet condition as frozen data: source image, preprocessor, ControlNet, strength, window.

Nothing here loads torch; `pipelines.controlnet.conditioner` does what these say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from pipelines.errors import InvalidRequest
from pipelines.request.base import Fraction, FrozenModel, Number

NONE = "none"
"""The preprocessor of a picture that is a map already."""
MOST = 8
"""Controls of one picture at most."""

Mode = Literal["balanced", "prompt", "control"]
MODES: tuple[str, ...] = get_args(Mode)
Scalar = bool | int | float | str


def _pairs(value: Any) -> Any:
    """Parameters in one order, so that equal means equal: from a mapping, pairs or JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, Sequence) or not all(
        isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        return value
    plain = {
        # 100 and 100.0 are one threshold.
        key: int(one) if isinstance(one, float) and one.is_integer() else one
        for key, one in pairs
    }
    return tuple(sorted(plain.items()))


Parameters = Annotated[
    tuple[tuple[str, Scalar], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, Scalar]),
]


class Control(FrozenModel):
    """One ControlNet condition: source image, preprocessor, ControlNet, strength, window and mode.

    The ControlNet computes what to add inside the denoiser, d at every depth l of it, from the
    map. Rows with the prompt (cond) and without (uncond) get

    Math: strength · w_l · d_l;  w_l = 10^(l/n − 1) for depths l = 0 … n (n is the innermost)

    with `mode`
        balanced: both, all w_l = 1.
        prompt:   both, with w_l: little at the fine depths, so that the prompt decides more.
        control:  cond alone, with w_l: guidance then amplifies the control together with the
                  prompt (diffusers' guess mode).

    A ControlNet that pools its outputs (shuffle) has no depths to weigh: it adds to cond alone
    and all w_l are 1, whatever the mode, as in diffusers.

    Attributes:
        image: the picture's hash, as `Studio.add_picture` returns it.
        preprocessor: makes the map from the picture; "none" if it is one already.
        parameters: the preprocessor's, by name.
        model: the ControlNet's id, or its folder; None leaves the choice to `Studio.resolve`.
        start, stop: share of the steps between which it acts; an evaluation is inside when all
            of it is, as diffusers counts.
    Source: Zhang et al. 2023, arXiv:2302.05543; guess mode: its Sec. 4; the modes' names:
        AUTOMATIC1111's sd-webui-controlnet, whose 0.825^(12−l) is w_l within 1 % at n = 12.
    """

    error_prefix: ClassVar[str] = "control "

    image: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="it must be a picture's hash (studio.add_picture)"
    )
    preprocessor: str = Field(NONE, min_length=1, description="it must name a preprocessor")
    parameters: Parameters = Field(
        (), description="it must be names with numbers, texts, true or false"
    )
    model: str | None = Field(None, min_length=1, description="it must name a ControlNet")
    strength: Number = Field(1.0, ge=0.0, le=2.0, description="it must be a number from 0 to 2")
    start: Fraction = Field(0.0, description="it must be a number from 0 to 1 (share of the steps)")
    stop: Fraction = Field(1.0, description="it must be a number from 0 to 1 (share of the steps)")
    mode: Mode = Field("balanced", description=f"it must be one of {', '.join(MODES)}")

    @model_validator(mode="after")
    def _starts_before_it_stops(self) -> Control:
        if self.start > self.stop:
            raise InvalidRequest(
                f"control start {self.start:g} is after control stop {self.stop:g}; it must not be"
            )
        return self

    def replace(self, **changes: Any) -> Control:
        """Copy with some fields changed, validated again. Raises: InvalidRequest."""
        return Control(**{**self.model_dump(), **changes})


def put_control(before: Control | None, changes: Mapping[str, Any]) -> Control | None:
    """Change fields of a control, as axes do; None stays None. Raises: InvalidRequest."""
    return None if before is None else before.replace(**changes)
