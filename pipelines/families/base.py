"""What a model family must be able to do, and the one place that lists the families."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import InvalidRequest
from pipelines.samplers import SAMPLERS, Kind

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipelines.guidance import Row
    from pipelines.types import Request


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model: a thin view on cached components. Nothing in it may be changed.

    Attributes:
        components: by their names in `model_index.json`, without the scheduler.
        scheduler_config: the checkpoint's own, pristine.
        fingerprint: hash of all weights and configs.
        controlnets: loaded ones, by the names they were asked for.
        prepared: what backends made of the denoiser, by their own keys; goes when it goes.
    """

    id: str
    components: Mapping[str, Any]
    scheduler_config: Mapping[str, Any]
    fingerprint: str
    device: str
    dtype: Any
    prepared: MutableMapping[Any, Any] = field(default_factory=dict)
    controlnets: Mapping[str, Any] = field(default_factory=dict)


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


class Family(Protocol):
    """One kind of model. Implementations hold no state: all of it is in `Model`."""

    id: str
    label: str
    components: tuple[str, ...]
    """Components to load, in loading order; others in the index are left alone."""
    denoiser: str
    """The component that evaluates rows."""
    sampler_kind: Kind

    def sizes(self, configs: Mapping[str, Mapping[str, Any]]) -> Sizes:
        """Sizes from the components' configs alone, so that validation needs no weights."""

    def latent_shape(self, model: Model, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture."""

    def encode(self, model: Model, texts: Sequence[str]) -> list[Any]:
        """One condition a text, to stand in rows."""

    def network(self, model: Model) -> nn.Module:
        """The denoiser as a function of what `inputs` gives, which backends can trace."""

    def inputs(self, model: Model, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """Rows as tensors, the first dimension of each being the row."""

    def denoised(self, model: Model, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        """The predicted clean latents, (1, C, h, w), from network input and output."""

    def decode(self, model: Model, latents: Tensor) -> Tensor:
        """Pictures, (B, 3, H, W) uint8 on the CPU, from latents (B, C, h, w)."""


def evaluate(family: Family, model: Model, rows: Sequence[Row]) -> Tensor:
    """Model outputs of rows, (rows, C, h, w), by torch as it is."""
    output: Tensor = family.network(model)(*family.inputs(model, rows))
    return output


def check_sampler(family: Family, request: Request, config: Mapping[str, Any]) -> None:
    """Raises: InvalidRequest: if the sampler is not for this model, with those that are.

    Args:
        config: the checkpoint's own scheduler config.
    """
    v_prediction = config.get("prediction_type") == "v_prediction"
    fitting = [
        row.id
        for row in SAMPLERS.values()
        if row.kind == family.sampler_kind and (row.v_prediction or not v_prediction)
    ]
    if request.sampler not in fitting:
        kind = "v-prediction" if v_prediction else family.sampler_kind
        raise InvalidRequest(
            f"sampler {request.sampler!r} does not fit {request.model!r}, a {kind} model; "
            f"it takes {', '.join(fitting)}"
        )
