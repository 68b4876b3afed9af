"""Request: everything that decides one picture, as frozen data.

Two equal Requests give the same picture. Importing this module loads neither torch nor diffusers.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipelines import samplers
from pipelines.errors import InvalidRequest
from pipelines.request import control, lora
from pipelines.request.base import PROMPT_MAX, Fraction, FrozenModel, Number, read_json
from pipelines.request.control import Control
from pipelines.request.field_aliases import by_own_names
from pipelines.request.lora import LoRA, State
from pipelines.request.skip_layers import Layers

SEED_MAX = 2**63 - 1
RANDOM_SEED = -1
"""A seed that stands for another each time; a picture carries the one that was drawn for it."""
OMITTED_DEFAULTS: Mapping[str, Any] = {
    "distilled_guidance": None,
    "controls": (),
    "loras": (),
    "skip_layers": (),
    "skip_layer_scale": 2.8,
    "skip_layer_start": 0.01,
    "skip_layer_stop": 0.2,
    "guider": "",
    "as_diffusers": False,
    "clip_skip": 0,
}
"""Fields added later. Canonical JSON omits them at these values, so that the addresses of older
pictures do not change."""
CLIP_SKIP_MAX = 31
"""No CLIP encoder of these families has more layers; a model says how many it has."""
_SHARE = "it must be a number from 0 to 1 (share of the steps)"


def draw_seed(count: int = 1) -> int:
    """Draw a seed with room for `count` that follow each other, in 32 bits as other tools do."""
    return secrets.randbelow(2**32 + 1 - count)


def _no_minus_zero(value: float | None) -> float | None:
    return None if value is None else value + 0.0


class Request(FrozenModel):
    """Everything that decides one image.

    `width` and `height` may be left out: `Studio.resolve` fills in the model's own size, and a
    finished picture always carries both.
    """

    model: str = Field("emoji", min_length=1, description="it must name a model")
    prompt: str = Field("", max_length=PROMPT_MAX, description=f"at most {PROMPT_MAX} characters")
    negative_prompt: str = Field(
        "", max_length=PROMPT_MAX, description=f"at most {PROMPT_MAX} characters"
    )
    sampler: str = Field("dpmpp_2m", description="a sampler's name")
    schedule: str = Field("default", description="a schedule's name")
    steps: int = Field(25, ge=1, le=1000, description="it must be a whole number from 1 to 1000")
    guidance_scale: Number = Field(
        5.0,
        ge=-100.0,
        le=100.0,
        description="it must be a number from -100 to 100 (1 = guidance off, 0 = unconditional, "
        "below 0 = away from the prompt)",
    )
    guidance_rescale: Fraction = Field(0.0, description="it must be a number from 0 to 1")
    guidance_start: Fraction = Field(0.0, description=_SHARE)
    guidance_stop: Fraction = Field(1.0, description=_SHARE)
    distilled_guidance: Annotated[float | None, AfterValidator(_no_minus_zero)] = Field(
        None,
        ge=0.0,
        le=100.0,
        description="it must be a number from 0 to 100, or left out for the model's own",
    )
    guider: str = Field("", description="a guider's name, or nothing for the model's own")
    skip_layers: Layers = Field(
        (), description="it must be numbers of layers, such as 7+8+9, or none"
    )
    skip_layer_scale: Number = Field(
        2.8, ge=0.0, le=100.0, description="it must be a number from 0 to 100"
    )
    skip_layer_start: Fraction = Field(0.01, description=_SHARE)
    skip_layer_stop: Fraction = Field(0.2, description=_SHARE)
    seed: int = Field(
        0,
        ge=RANDOM_SEED,
        le=SEED_MAX,
        description=f"it must be a whole number from 0 to {SEED_MAX}, or {RANDOM_SEED} for random",
    )
    width: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )
    height: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )  # fmt: skip
    controls: tuple[Control, ...] = Field(
        (),
        max_length=control.MOST,
        description=f"it must be a list of at most {control.MOST} controls",
    )
    loras: tuple[LoRA, ...] = Field(
        (),
        max_length=lora.MOST,
        description=f"it must be a list of at most {lora.MOST} LoRAs",
    )
    as_diffusers: bool = Field(False, description="it must be true or false")
    clip_skip: int = Field(
        0, ge=0, le=CLIP_SKIP_MAX, description="it must be a whole number of layers from 0 to "
        f"{CLIP_SKIP_MAX} (0 = none; what AUTOMATIC1111 calls Clip skip 2 is 1)",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _canonical_names(cls, data: Any) -> Any:
        """Accept every spelling of a sampler; store ids only, so that equal means equal."""
        if not isinstance(data, Mapping):
            return data
        fields = by_own_names(data)
        sampler, schedule = fields.get("sampler"), fields.get("schedule")
        if isinstance(schedule, str):
            fields["schedule"] = samplers.parse_schedule(schedule)
        if isinstance(sampler, str):
            fields["sampler"], implied = samplers.parse(sampler)
            if implied is not None:
                if fields.get("schedule", "default") not in ("default", implied):
                    raise InvalidRequest(
                        f"sampler {sampler!r} says {implied}, schedule says {schedule!r}; give one"
                    )
                fields["schedule"] = implied
        return fields

    @model_validator(mode="after")
    def _fits_together(self) -> Request:
        samplers.check(self.sampler, self.schedule)
        for part in ("guidance", "skip_layer"):
            start, stop = getattr(self, f"{part}_start"), getattr(self, f"{part}_stop")
            if start > stop:
                raise InvalidRequest(
                    f"{part}_start {start:g} is after {part}_stop {stop:g}; it must not be"
                )
        return self

    @model_serializer(mode="wrap")
    def _omit_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {
            k: v for k, v in fields.items() if k not in OMITTED_DEFAULTS or v != OMITTED_DEFAULTS[k]
        }

    @property
    def controlnets(self) -> tuple[str, ...]:
        """ControlNets that a complete Request needs, each once, in order."""
        return tuple(dict.fromkeys(one.model for one in self.controls if one.model is not None))

    @property
    def active_loras(self) -> State:
        """LoRAs that change the weights: those whose scale is not 0."""
        return tuple(one for one in self.loras if one.acts)

    @property
    def lora_names(self) -> tuple[str, ...]:
        """LoRAs that must be loaded, each once, in order."""
        return tuple(dict.fromkeys(one.name for one in self.active_loras))

    def with_seed(self, count: int = 1) -> Self:
        """Draw the seed of a copy, where it stands for a random one, with room for `count`."""
        return self if self.seed != RANDOM_SEED else self.replace(seed=draw_seed(count))

    def replace(self, **changes: Any) -> Self:
        """Copy with some fields changed, validated again. Raises: InvalidRequest."""
        return type(self)(**{**self.model_dump(), **by_own_names(changes)})

    def to_json(self) -> str:
        """Write canonical JSON: equal Requests give equal text."""
        return json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Read the Request that `to_json` wrote.

        Raises: InvalidRequest: if the text is no Request.
        """
        data = read_json(text)
        if not isinstance(data, dict):
            raise InvalidRequest(f"settings are {type(data).__name__}, not a JSON object")
        return cls(**data)

    def address(self, fingerprint: str) -> str:
        """Compute the address of a finished cell: a hash of what decides its pixels.

        Args:
            fingerprint: hash of the model's weights and configs, and of the engine's version.
        Returns: 32 hex digits.
        """
        material = f"{fingerprint}\n{self.to_json()}".encode()
        return hashlib.sha256(material).hexdigest()[:32]
