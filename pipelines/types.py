"""The data everything else passes around: Request, Axis, Sheet, Stats and the events of a run.

All of it is frozen. A Request decides one image completely: two equal Requests give the same
picture. Importing this module loads neither torch nor diffusers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipelines import loras, samplers
from pipelines.controls import CONTROL_FIELDS, Control, changed, control_field
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.frozen import PROMPT_MAX, Fraction, Frozen, Number
from pipelines.loras import LORA_FIELDS, LoRA, lora_field
from pipelines.skipping import Layers

SEED_MAX = 2**32 - 1


_LATER: Mapping[str, Any] = {
    "distilled_guidance": None,
    "controls": (),
    "loras": (),
    "skip_layers": (),
    "skip_layer_scale": 2.8,
    "skip_layer_start": 0.01,
    "skip_layer_stop": 0.2,
}
"""Fields that came after the first pictures were stored: JSON leaves them out at these values, so
that what was stored is still found."""


_SHARE = "it must be a number from 0 to 1 (share of the steps)"


def _no_minus_zero(value: float | None) -> float | None:
    return None if value is None else value + 0.0


class Request(Frozen):
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
        ge=0.0,
        le=100.0,
        description="it must be a number from 0 to 100 (1 = guidance off, 0 = unconditional)",
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
    skip_layers: Layers = Field(
        (), description="it must be numbers of layers, such as 7+8+9, or none"
    )
    skip_layer_scale: Number = Field(
        2.8, ge=0.0, le=100.0, description="it must be a number from 0 to 100"
    )
    skip_layer_start: Fraction = Field(0.01, description=_SHARE)
    skip_layer_stop: Fraction = Field(0.2, description=_SHARE)
    seed: int = Field(
        0, ge=0, le=SEED_MAX, description=f"it must be a whole number from 0 to {SEED_MAX}"
    )
    width: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )
    height: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )  # fmt: skip
    controls: tuple[Control, ...] = Field(
        (), max_length=8, description="it must be a list of at most 8 controls"
    )
    loras: tuple[LoRA, ...] = Field(
        (),
        max_length=loras.MOST,
        description=f"it must be a list of at most {loras.MOST} LoRAs",
    )

    @model_validator(mode="before")
    @classmethod
    def _canonical_names(cls, data: Any) -> Any:
        """Accept every spelling of a sampler; store ids only, so that equal means equal."""
        if not isinstance(data, Mapping):
            return data
        fields = dict(data)
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
    def _leave_out_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As `_LATER` says."""
        fields: dict[str, Any] = handler(self)
        return {k: v for k, v in fields.items() if k not in _LATER or v != _LATER[k]}

    def replace(self, **changes: Any) -> Request:
        """A copy with some fields changed, validated again. Raises: InvalidRequest."""
        return Request(**{**self.model_dump(), **changes})

    def to_json(self) -> str:
        """Canonical JSON: equal Requests give equal text."""
        return json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The Request that `to_json` wrote. Raises: InvalidRequest: if the text is no Request."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"settings are not JSON: {error}") from None
        if not isinstance(data, dict):
            raise InvalidRequest(f"settings are {type(data).__name__}, not a JSON object")
        return cls(**data)

    def address(self, fingerprint: str) -> str:
        """Where a finished cell lives: a hash of what decides its pixels.

        Args:
            fingerprint: hash of the model's weights and configs, and of the engine's version.
        Returns: 32 hex digits.
        """
        material = f"{fingerprint}\n{self.to_json()}".encode()
        return hashlib.sha256(material).hexdigest()[:32]


PROMPT_REPLACE = "prompt_replace"
"""The one axis that is no field: its first value, wherever it stands in the prompt, is replaced
by each of its values in turn (search and replace)."""


EVALUATIONS = "evaluations"
"""The other axis that is no field: as many steps as cost at most this many denoiser evaluations,
so that samplers are compared at equal cost."""

PSEUDO_FIELDS = (PROMPT_REPLACE, EVALUATIONS)


def check_field(field: str) -> None:
    """Raises: UnknownName: if that cannot be an axis."""
    known = [name for name in Request.model_fields if name not in ("controls", "loras")]
    known += [*PSEUDO_FIELDS, *CONTROL_FIELDS, *LORA_FIELDS]
    if field not in known and control_field(field) is None and lora_field(field) is None:
        raise UnknownName.of("axis", field, known, f"known: {', '.join(known)}")


class Axis(Frozen):
    """A Request field with the values it takes along one side of a sheet.

    Attributes:
        zipped: further fields that change in step with this one, with as many values each.
    """

    field: str = Field(description="it must name a field of a Request")
    values: tuple[Any, ...] = Field(min_length=1, description="an axis needs at least one value")
    zipped: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _field_exists(self) -> Axis:
        check_field(self.field)
        for other in self.zipped:
            if other.zipped or len(other.values) != len(self.values):
                raise InvalidRequest(
                    f"axes {self.field!r} ({len(self.values)} values) and {other.field!r} "
                    f"({len(other.values)}) change together; they need as many values each"
                )
        return self

    @property
    def parts(self) -> tuple[Axis, ...]:
        """This axis and those zipped with it."""
        return (self, *self.zipped)

    def changes(self, position: int, base: Request) -> dict[str, Any]:
        """Fields to replace in `base` at one place along the axis.

        Raises: InvalidRequest: if the text to replace is not in the prompt.
        """
        found = {part.field: part.values[position] for part in self.parts}
        if PROMPT_REPLACE in found:
            part = next(part for part in self.parts if part.field == PROMPT_REPLACE)
            search, replacement = str(part.values[0]), str(found.pop(PROMPT_REPLACE))
            if not search or search not in base.prompt:
                raise InvalidRequest(
                    f"{PROMPT_REPLACE} starts with {search!r}, which is not in the prompt "
                    f"{base.prompt!r}; the first value is what gets replaced"
                )
            found["prompt"] = base.prompt.replace(search, replacement)
        return found


class Sheet(Frozen):
    """A base Request and any number of axes; it expands to cells, the last axis fastest."""

    base: Request = Field(default=Request(), description="it must be a Request")
    axes: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _axes_differ(self) -> Sheet:
        names = [part.field for axis in self.axes for part in axis.parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidRequest(f"axis {twice[0]!r} is given twice; join its values in one")
        if "prompt" in names and PROMPT_REPLACE in names:
            raise InvalidRequest(f"axes 'prompt' and {PROMPT_REPLACE!r} both set the prompt")
        if "steps" in names and EVALUATIONS in names:
            raise InvalidRequest(f"axes 'steps' and {EVALUATIONS!r} both set the steps")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis; () for a single picture."""
        return tuple(len(axis.values) for axis in self.axes)

    def indices(self) -> list[tuple[int, ...]]:
        """The place of every cell, in axis order."""
        return list(itertools.product(*(range(n) for n in self.shape)))

    def expand(self) -> list[Request]:
        """The Request of every cell, in axis order. Raises: InvalidRequest: for a bad value."""
        cells = []
        for index in self.indices():
            changes: dict[str, Any] = {}
            for axis, position in zip(self.axes, index, strict=True):
                changes |= axis.changes(position, self.base)
            if "sampler" in changes and "schedule" not in changes:
                changes["schedule"] = self._schedule_of(str(changes["sampler"]))
            if EVALUATIONS in changes:
                sampler, _ = samplers.parse(str(changes.get("sampler", self.base.sampler)))
                changes["steps"] = samplers.steps_within(sampler, changes.pop(EVALUATIONS))
            changes = loras.changed(self.base.loras, changed(self.base.controls, changes))
            cells.append(self.base.replace(**changes))
        return cells

    def _schedule_of(self, sampler: str) -> str:
        """The base's schedule where the sampler has it; else what its name says, or default.

        A comparison of samplers must not fail because one of them has no Karras schedule.
        """
        id, implied = samplers.parse(sampler)
        kept = self.base.schedule
        return implied or (kept if kept in samplers.SAMPLERS[id].schedules else "default")

    @classmethod
    def seeds(cls, base: Request, count: int) -> Sheet:
        """`count` pictures of one Request, with seeds that follow each other.

        Raises: InvalidRequest: if count < 1 or the last seed would be out of range.
        """
        if count < 1:
            raise InvalidRequest(f"the number of pictures is {count}; it must be 1 or more")
        if count == 1:
            return cls(base=base)
        return cls(
            base=base,
            axes=(Axis(field="seed", values=tuple(range(base.seed, base.seed + count))),),
        )
