"""Family protocol: defines what a family's torch half does, and the loaded model it works on."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pipelines import samplers
from pipelines.errors import ContactSheetError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from pipelines.denoising.row import Condition, Row
    from pipelines.families.capabilities import Configs
    from pipelines.families.spec import FamilySpec
    from pipelines.request.request import Request
    from pipelines.samplers import Scheduler


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Loaded model: a thin view on cached components. Nothing in it may be changed.

    Attributes:
        components: by their names in `model_index.json`, without the scheduler.
        fingerprint: hash of all weights and configs.
        configs: as in the folder, by component, with `scheduler` (pristine) and `model_index`.
        controlnets: loaded ones, by the names they were asked for.
        loras: loaded ones, by the names they were asked for; `lora_patcher` applies them.
        embeddings: those that prompts may name: name to text encoder to vectors, (vectors, D).
        base: the fingerprint without the LoRAs that are in the weights; "" where none are.
        prepared: what backends made of the denoiser, by their own keys; goes when it goes.
    """

    id: str
    components: Mapping[str, Any]
    fingerprint: str
    device: str
    dtype: torch.dtype
    configs: Configs = field(default_factory=dict)
    prepared: MutableMapping[Any, Any] = field(default_factory=dict)
    controlnets: Mapping[str, Any] = field(default_factory=dict)
    loras: Mapping[str, LoadedLoRA] = field(default_factory=dict)
    embeddings: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    base: str = ""


@dataclass(frozen=True, slots=True)
class LoadedLoRA:
    """Loaded LoRA: the tensors of its file in memory.

    Attributes:
        source: digest of the file.
    """

    file: Path
    source: str
    tensors: Mapping[str, Tensor]


class Family(Protocol):
    """Torch half of a family: encodes text, builds the network's inputs, decodes latents.

    Implementations hold no state but their row of the registry: all else is in `LoadedModel`.
    """

    @property
    def spec(self) -> FamilySpec:
        """Its row of the registry."""

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        """Choose options for the scheduler's `set_timesteps`, beside the number of steps."""

    def latent_shape(self, model: LoadedModel, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture."""

    def encode(
        self, model: LoadedModel, texts: Sequence[str], clip_skip: int = 0
    ) -> list[Condition]:
        """Encode texts: one condition each, to stand in rows.

        Args:
            clip_skip: last layers of CLIP to leave out; 0 where `FamilySpec.clip_skip` is false.
        """

    def without_negative(self, model: LoadedModel, empty: Condition) -> Condition:
        """The condition of a cell that has no negative prompt.

        Args:
            empty: that of an empty text.
        """

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        """Wrap the denoiser as a function of what `inputs` gives, which backends can trace.

        Args:
            skip: layers to leave out; none where `FamilySpec.capabilities` has none to skip.
        """

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """Stack rows into tensors, the first dimension of each being the row."""

    def denoised(self, model: LoadedModel, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        """Predict the clean latents, (1, C, h, w), from network input and output."""

    def decode(self, model: LoadedModel, latents: Tensor) -> Tensor:
        """Decode latents, (B, C, h, w), into pictures, (B, 3, H, W) uint8 on the CPU."""


def build_scheduler(family: Family, configs: Configs, request: Request) -> Scheduler:
    """Build a fresh scheduler for one trajectory of a complete Request, its timesteps set.

    Raises: InvalidRequest: if the scheduler cannot do what is asked.
    """
    return samplers.build(
        request.sampler,
        request.schedule,
        configs["scheduler"],
        request.steps,
        request.seed,
        family.spacing(configs, request),
        request.as_diffusers,
    )


def sampling_mark(family: Family, configs: Configs, request: Request) -> str:
    """What of a complete Request's sampling stands in its picture's address.

    Raises: InvalidRequest: as `build_scheduler`.
    """
    if request.as_diffusers:
        return ""  # its JSON says so, and no version of ours changes these numbers
    return samplers.version_mark(
        request.sampler,
        request.schedule,
        configs["scheduler"],
        request.steps,
        family.spacing(configs, request),
    )


def decode_latents(model: LoadedModel, latents: Tensor, reads: Sequence[str] = ()) -> Tensor:
    """Decode latents, (B, C, h, w), with the model's VAE.

    Math: z = latents / scaling_factor, then z · latents_std + latents_mean (SDXL), then
        z + shift_factor (flow matching): each where the family reads it and the config has it.
    Args:
        reads: entries of the VAE's config that the family's own pipeline goes by, beside
            `scaling_factor`: another family's VAE may hold entries that this one never used.
    Returns: pictures, (B, 3, H, W) uint8 on the CPU.
    """
    import torch

    vae = model.components["vae"]
    told = {name: getattr(vae.config, name, None) for name in reads}
    mean, std = told.get("latents_mean"), told.get("latents_std")
    with torch.inference_mode():
        latents = latents.to(vae.dtype) / vae.config.scaling_factor
        if mean is not None and std is not None:
            mean, std = (latents.new_tensor(one).view(1, -1, 1, 1) for one in (mean, std))
            latents = latents * std + mean
        latents = latents + (told.get("shift_factor") or 0.0)
        return to_pixels(vae.decode(latents, return_dict=False)[0])


def to_pixels(image: Tensor) -> Tensor:
    """Turn a VAE's output, −1..1, into uint8 on the CPU.

    Raises: ContactSheetError: if there is a number in it that is none, as where float16
        overflows; as uint8 it would be a blank picture.
    """
    import torch

    if not bool(torch.isfinite(image).all()):
        raise ContactSheetError(
            "the VAE's numbers overflowed and give no picture; float32 may help, or another VAE"
        )
    image = (image * 0.5 + 0.5).clamp(0.0, 1.0).float()
    return (image * 255.0).round().to("cpu", torch.uint8)
