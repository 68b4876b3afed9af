"""What a model family must be able to do, and the one place that lists the families."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pipelines import samplers
from pipelines.families.capabilities import Configs, Sizes, Supports

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from pipelines.denoising.row import Row
    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model: a thin view on cached components. Nothing in it may be changed.

    Attributes:
        components: by their names in `model_index.json`, without the scheduler.
        scheduler_config: the checkpoint's own, pristine.
        fingerprint: hash of all weights and configs.
        configs: as in the folder, by component, with `scheduler` and `model_index`.
        controlnets: loaded ones, by the names they were asked for.
        loras: loaded ones, by the names they were asked for; `lora_weights` applies them.
        base: the fingerprint without the LoRAs that are in the weights; "" where none are.
        prepared: what backends made of the denoiser, by their own keys; goes when it goes.
    """

    id: str
    components: Mapping[str, Any]
    scheduler_config: Mapping[str, Any]
    fingerprint: str
    device: str
    dtype: Any
    configs: Configs = field(default_factory=dict)
    prepared: MutableMapping[Any, Any] = field(default_factory=dict)
    controlnets: Mapping[str, Any] = field(default_factory=dict)
    loras: Mapping[str, LoadedLoRA] = field(default_factory=dict)
    base: str = ""


@dataclass(frozen=True, slots=True)
class LoadedLoRA:
    """A LoRA's file in memory.

    Attributes:
        source: digest of the file.
    """

    file: Path
    source: str
    tensors: Mapping[str, Tensor]


class Family(Protocol):
    """One kind of model. Implementations hold no state: all of it is in `Model`."""

    id: str
    label: str
    components: tuple[str, ...]
    """Components to load, in loading order; others in the index are left alone."""
    optional: tuple[str, ...]
    """Those of `components` that a folder may leave out (null in its index)."""
    denoiser: str
    """The component that evaluates rows."""
    index_options: tuple[str, ...]
    """Entries of `model_index.json` that decide pixels."""

    def sizes(self, configs: Configs) -> Sizes:
        """Sizes from configs alone, so that validation needs no weights."""

    def supports(self, configs: Configs) -> Supports:
        """What the model can do, from configs alone."""

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        """Options for the scheduler's `set_timesteps`, beside the number of steps."""

    def latent_shape(self, model: Model, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture."""

    def encode(self, model: Model, texts: Sequence[str]) -> list[Any]:
        """One condition a text, to stand in rows."""

    def without_negative(self, model: Model, empty: Any) -> Any:
        """The condition of a cell that has no negative prompt.

        Args:
            empty: that of an empty text.
        """

    def network(self, model: Model, skip: Sequence[int] = ()) -> nn.Module:
        """The denoiser as a function of what `inputs` gives, which backends can trace.

        Args:
            skip: layers to leave out; none where `supports` has none to skip.
        """

    def inputs(self, model: Model, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """Rows as tensors, the first dimension of each being the row."""

    def denoised(self, model: Model, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        """The predicted clean latents, (1, C, h, w), from network input and output."""

    def decode(self, model: Model, latents: Tensor) -> Tensor:
        """Pictures, (B, 3, H, W) uint8 on the CPU, from latents (B, C, h, w)."""


def build_scheduler(family: Family, configs: Configs, request: Request) -> Any:
    """A fresh scheduler for one trajectory of a complete Request, its timesteps set.

    Raises: InvalidRequest: if the scheduler cannot do what is asked.
    """
    return samplers.build(
        request.sampler,
        request.schedule,
        configs["scheduler"],
        request.steps,
        request.seed,
        family.spacing(configs, request),
    )


def to_pixels(image: Tensor) -> Tensor:
    """A VAE's output, −1..1, as uint8 on the CPU."""
    import torch

    image = (image * 0.5 + 0.5).clamp(0.0, 1.0).float()
    return (image * 255.0).round().to("cpu", torch.uint8)


def evaluate(family: Family, model: Model, rows: Sequence[Row]) -> Tensor:
    """Model outputs of rows that skip the same layers, (rows, C, h, w), by torch as it is."""
    network = family.network(model, rows[0].skip)
    output: Tensor = network(*family.inputs(model, rows))
    return output
