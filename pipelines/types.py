"""The data everything else passes around: Request, Axis, Sheet, Stats and the events of a run.

All of it is frozen. A Request decides one image completely: two equal Requests give the same
picture. Importing this module loads neither torch nor diffusers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipelines import samplers
from pipelines.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image

SEED_MAX = 2**32 - 1
PROMPT_MAX = 4000


class _Frozen(BaseModel):
    """A validated value whose errors read like sentences, not like a validator's report."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _speak_plainly(cls, data: Any, handler: Any) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            raise _explain(cls, error.errors()[0]) from None


def _explain(cls: type[BaseModel], detail: ErrorDetails) -> InvalidRequest | UnknownName:
    """One clear sentence for the first thing that is wrong."""
    name = str(detail["loc"][0]) if detail["loc"] else cls.__name__
    if detail["type"] == "extra_forbidden":
        known = list(cls.model_fields)
        return UnknownName.of("setting", name, known, f"known: {', '.join(known)}")
    info = cls.model_fields.get(name)
    allowed = info.description if info is not None and info.description else detail["msg"]
    return InvalidRequest(f"{name} is {detail['input']!r}; {allowed}")


# Adding 0 turns -0.0 into 0.0: the two are equal, so their JSON must be too.
Number = Annotated[float, AfterValidator(lambda value: value + 0.0)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]


class Request(_Frozen):
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
    guidance_start: Fraction = Field(
        0.0, description="it must be a number from 0 to 1 (share of the steps)"
    )
    guidance_stop: Fraction = Field(
        1.0, description="it must be a number from 0 to 1 (share of the steps)"
    )
    seed: int = Field(
        0, ge=0, le=SEED_MAX, description=f"it must be a whole number from 0 to {SEED_MAX}"
    )
    width: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )
    height: int | None = Field(
        None, ge=8, le=8192, description="it must be a whole number of pixels from 8 to 8192"
    )  # fmt: skip

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
        if self.guidance_start > self.guidance_stop:
            raise InvalidRequest(
                f"guidance_start {self.guidance_start:g} is after "
                f"guidance_stop {self.guidance_stop:g}; it must not be"
            )
        return self

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


class Axis(_Frozen):
    """A Request field with the values it takes along one side of a sheet."""

    field: str = Field(description="it must name a field of a Request")
    values: tuple[Any, ...] = Field(min_length=1, description="an axis needs at least one value")

    @model_validator(mode="after")
    def _field_exists(self) -> Axis:
        known = list(Request.model_fields)
        if self.field not in known:
            raise UnknownName.of("axis", self.field, known, f"known: {', '.join(known)}")
        return self


class Sheet(_Frozen):
    """A base Request and any number of axes; it expands to cells, the last axis fastest."""

    base: Request = Field(default=Request(), description="it must be a Request")
    axes: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _axes_differ(self) -> Sheet:
        names = [axis.field for axis in self.axes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidRequest(f"axis {twice[0]!r} is given twice; join its values in one")
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
        return [
            self.base.replace(
                **{axis.field: axis.values[i] for axis, i in zip(self.axes, index, strict=True)}
            )
            for index in self.indices()
        ]

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


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run cost.

    Attributes:
        rows_naive: denoiser rows that a cell-by-cell loop would compute.
        rows_computed: rows that were computed, equal ones once.
        batches: calls of the denoiser.
        seconds: wall time from the first load to the last picture.
    """

    cells: int = 0
    cells_cached: int = 0
    rows_naive: int = 0
    rows_computed: int = 0
    batches: int = 0
    seconds: float = 0.0


RunStatus = Literal["queued", "running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has its model and begins; `cells` are complete Requests, in axis order."""

    run: str
    cells: Sequence[Request]


@dataclass(frozen=True, slots=True)
class CellProgress:
    """A cell has finished `step` of `steps` denoiser evaluations (cell: position in `cells`)."""

    run: str
    cell: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class CellPreview:
    """What the cell would look like if denoising ended here: `denoised`, decoded."""

    run: str
    cell: int
    step: int
    image: Image


@dataclass(frozen=True, slots=True)
class CellDone:
    """A finished picture. `file` is its PNG in the store; None when the studio keeps no store.

    `seconds` is the cell's share of the device's time, by its rows in each batch.
    """

    run: str
    cell: int
    request: Request
    image: Image
    file: Path | None
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True)
class CellFailed:
    """A cell that could not be made; the other cells go on."""

    run: str
    cell: int
    request: Request
    error: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of every run. `error` tells why no cell could be made, if so."""

    run: str
    status: RunStatus
    stats: Stats
    error: str | None = None


Event = RunStarted | CellProgress | CellPreview | CellDone | CellFailed | RunFinished
