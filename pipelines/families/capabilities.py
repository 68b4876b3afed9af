"""Model capabilities: says what a model can do, and refuses Requests that it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipelines.denoising.guiders.checked import NetworkInputs
from pipelines.denoising.guiders.registry import Choice, guiders_for
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.request.prompts.prompt_schedule import Clause, scheduled, texts_of
from pipelines.request.prompts.prompt_weights import parse_weights
from pipelines.request.skip_layers import layers_text
from pipelines.samplers import SAMPLERS, Kind, misfit

if TYPE_CHECKING:
    from pipelines.request.request import Request

Configs = Mapping[str, Mapping[str, Any]]
"""Configs of a model's components by name, beside them `scheduler` and `model_index`."""

GuidanceKind = Literal["classifier_free", "embedded", "negative_prompt"]
"""How `guidance_scale` acts. `classifier_free`: two rows are mixed. `embedded`: the network takes
it as an input, in one row. `negative_prompt`: two rows are mixed where there is a negative prompt;
without one the scale does nothing, as in diffusers' pipelines of that family."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Picture sizes a model takes, in pixels.

    Attributes:
        native: width and height it was trained at.
        multiple: width and height must be multiples of this.
    """

    native: tuple[int, int]
    multiple: int
    least: int
    most: int

    def check(self, width: int, height: int) -> None:
        """Raises: InvalidRequest: naming the nearest sizes that work."""
        for name, value in (("width", width), ("height", height)):
            if value % self.multiple or not self.least <= value <= self.most:
                near = min(max(round(value / self.multiple) * self.multiple, self.least), self.most)
                raise InvalidRequest(
                    f"{name} is {value}; this model takes multiples of {self.multiple} "
                    f"from {self.least} to {self.most} (the nearest is {near})"
                )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one model takes, from its configs alone.

    Attributes:
        kind: what sort of model it is, for messages.
        samplers: ids of those that fit, in the registry's order.
        negative_prompt: whether it takes one.
        distilled_guidance: its default where the network takes one as an input; else None.
        steps: fewest and most.
        skip_layers: how many layers its network has that guidance may skip.
        prompt_weights: whether it takes `(red:1.2)` and `BREAK` in prompts.
        clip_skip: how many last layers of its text encoders may be left out.
        suggested: Request fields for a model nobody has written a preset for; what is not there
            is a Request's own default.
    """

    kind: str
    samplers: tuple[str, ...]
    sizes: Sizes
    guidance: GuidanceKind = "classifier_free"
    negative_prompt: bool = True
    distilled_guidance: float | None = None
    steps: tuple[int, int] = (1, 1000)
    skip_layers: int = 0
    prompt_weights: bool = False
    clip_skip: int = 0
    suggested: Mapping[str, Any] = field(default_factory=dict)

    @property
    def guiders(self) -> tuple[str, ...]:
        """Ids of the guiders that fit; the first is the model's own."""
        return guiders_for(self.guidance == "embedded")

    def guider(self, request: Request) -> Choice:
        """The guider that a Request names, or the model's own.

        Raises: UnknownName, InvalidRequest: if there is no such, or it does not fit.
        """
        choice = Choice.read(request.guider or self.guiders[0])
        if choice.row.id not in self.guiders:
            raise InvalidRequest(
                f"guider {choice.row.id!r} does not fit {request.model!r}, a {self.kind} model; "
                f"it takes {', '.join(self.guiders)}"
            )
        return choice

    @property
    def composes(self) -> bool:
        """Whether AND joins prompts; a network that is told its guidance has one row only."""
        return self.guidance != "embedded"

    def clauses(self, request: Request) -> tuple[Clause, ...]:
        """Read a Request's prompt: its clauses, each with its text by step."""
        return scheduled(request.prompt, request.steps, self.composes)

    def negative(self, request: Request) -> Clause:
        """Read a Request's negative prompt, in which AND is a word."""
        return scheduled(request.negative_prompt, request.steps, False)[0]

    @property
    def network_inputs(self) -> NetworkInputs:
        """What its network takes, as guiders may use it."""
        told = self.guidance == "embedded" or self.distilled_guidance is not None
        return NetworkInputs(self.skip_layers, told)

    def guider_text(self, request: Request) -> str:
        """`Request.guider` in its one form: empty where it is the model's own, as it comes.

        Raises: UnknownName, InvalidRequest: as `guider`.
        """
        text = self.guider(request).text
        return "" if text == self.guiders[0] else text

    def check(self, request: Request) -> None:
        """Raises: InvalidRequest: for the first thing that this model cannot do, with what it can.

        Sizes are checked by themselves, once they are filled in.
        """
        self.guider(request)
        model = repr(request.model)
        if request.sampler not in self.samplers:
            raise InvalidRequest(
                f"sampler {request.sampler!r} does not fit {model}, a {self.kind} model; "
                f"it takes {', '.join(self.samplers)}"
            )
        least, most = self.steps
        if not least <= request.steps <= most:
            raise InvalidRequest(f"steps is {request.steps}; {model} takes {least} to {most}")
        if request.negative_prompt and not self.negative_prompt:
            raise InvalidRequest(
                f"{model} takes no negative prompt: its guidance is built into the network; "
                "leave negative_prompt empty"
            )
        if not self.prompt_weights:
            negative = (self.negative(request),)
            for name, clauses in (("prompt", self.clauses(request)), ("negative_prompt", negative)):
                if any(not isinstance(parse_weights(text), str) for text in texts_of(clauses)):
                    raise InvalidRequest(
                        f"{name} has weights or parts, such as (red:1.2), [red] or BREAK, which "
                        f"{model}, a {self.kind} model, cannot follow; leave them out, and write "
                        r"\( \) \[ \] for brackets that are text"
                    )
        if request.clip_skip > self.clip_skip:
            takes = f"takes 0 to {self.clip_skip}" if self.clip_skip else "takes none; leave it out"
            raise InvalidRequest(f"clip_skip is {request.clip_skip}; {model} {takes}")
        if request.guidance_rescale and self.guidance == "embedded":
            raise InvalidRequest(
                f"guidance_rescale is {request.guidance_rescale:g}; {model} has its guidance "
                "built into the network, which leaves nothing to rescale; it must be 0"
            )
        if request.distilled_guidance is not None and self.distilled_guidance is None:
            raise InvalidRequest(
                f"distilled_guidance is {request.distilled_guidance:g}; {model} takes none; "
                "leave it out (guidance_scale may be what you mean)"
            )
        if request.skip_layers and request.skip_layers[-1] >= self.skip_layers:
            takes = f"has layers 0 to {self.skip_layers - 1}" if self.skip_layers else "skips none"
            raise InvalidRequest(
                f"skip_layers is {layers_text(request.skip_layers)}; {model} {takes}; "
                f"{'name those' if self.skip_layers else 'leave it out'}"
            )


def compatible_samplers(kind: Kind, scheduler: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the samplers for a kind of model.

    Args:
        scheduler: the checkpoint's own scheduler config.
    Raises: ModelUnavailable: if there is none, with the reason.
    """
    v_prediction = scheduler.get("prediction_type") == "v_prediction"
    rows = [
        row
        for row in SAMPLERS.values()
        if row.kind == kind and (row.v_prediction or not v_prediction)
    ]
    reasons = [misfit(row.scheduler, scheduler) for row in rows]
    if all(reasons):
        raise ModelUnavailable(f"no sampler here is right for this model: {reasons[0]}")
    return tuple(row.id for row, reason in zip(rows, reasons, strict=True) if not reason)
