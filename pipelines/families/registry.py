"""Registry of model families: lists one row each for validation, menus, loaders and tests.

To add one, add a row and the file that it names. Listing loads no torch: a family's torch half
is imported by `load_family`, for those who render.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.families import traits
from pipelines.families.spec import FamilySpec, TextEncoder

if TYPE_CHECKING:
    from pipelines.families.base import Family

log = logging.getLogger(__name__)

_FIRST = TextEncoder()
_SECOND = TextEncoder("tokenizer_2", "text_encoder_2")

_ROWS = (
    FamilySpec(
        "sd",
        "Stable Diffusion 1.x / 2.x",
        pipelines=("StableDiffusionPipeline", traits.LCM_PIPELINE),
        implementation="pipelines.families.sd:StableDiffusion",
        text_encoders=(_FIRST,),
        kind="diffusion",
        latent_channels=4,
        sizes=traits.unet_sizes,
        denoiser="unet",
        prompt_weights=True,
        clip_skip=True,
        refine=traits.refine_unet,
        vae_fits_float16=True,
        lora_loader="StableDiffusionLoraLoaderMixin",
        embeddings=("",),
        control_adapter="pipelines.controlnet.unet:UNetControls",
    ),
    FamilySpec(
        "sdxl",
        "Stable Diffusion XL",
        pipelines=("StableDiffusionXLPipeline",),
        implementation="pipelines.families.sdxl:StableDiffusionXL",
        text_encoders=(_FIRST, _SECOND),
        kind="diffusion",
        latent_channels=4,
        sizes=traits.unet_sizes,
        denoiser="unet",
        index_options=(traits.EMPTY_IS_ZEROS,),
        prompt_weights=True,
        clip_skip=True,
        refine=traits.refine_unet,
        lora_loader="StableDiffusionXLLoraLoaderMixin",
        embeddings=("clip_l", "clip_g"),
        control_adapter="pipelines.controlnet.unet:XLControls",
    ),
    FamilySpec(
        "sd3",
        "Stable Diffusion 3 / 3.5",
        pipelines=("StableDiffusion3Pipeline",),
        implementation="pipelines.families.sd3:StableDiffusion3",
        text_encoders=(
            _FIRST,
            _SECOND,
            TextEncoder("tokenizer_3", "text_encoder_3", tokens=256, optional=True),
        ),
        kind="flow",
        latent_channels=16,
        sizes=traits.embedded_sizes,
        clip_skip=True,
        suggested={"sampler": "flow_euler", "steps": 28, "guidance_scale": 7.0},
        refine=traits.refine_sd3,
        trained_in="bfloat16",
        lora_loader="SD3LoraLoaderMixin",
        control_adapter="pipelines.controlnet.transformer:SD3Controls",
        gguf=True,
        converter="convert_sd3_transformer_checkpoint_to_diffusers",
    ),
    FamilySpec(
        "flux",
        "FLUX.1",
        pipelines=("FluxPipeline",),
        implementation="pipelines.families.flux:Flux",
        text_encoders=(_FIRST, TextEncoder("tokenizer_2", "text_encoder_2", tokens=512)),
        kind="flow",
        latent_channels=16,
        sizes=traits.packed_sizes,
        guidance="negative_prompt",
        refine=traits.refine_flux,
        trained_in="bfloat16",
        lora_loader="FluxLoraLoaderMixin",
        control_adapter="pipelines.controlnet.transformer:FluxControls",
        gguf=True,
        converter="convert_flux_transformer_checkpoint_to_diffusers",
    ),
)

_BY_ID = {row.id: row for row in _ROWS}
FAMILIES: Mapping[str, FamilySpec] = MappingProxyType(_BY_ID)
"""Family id to its row; what is registered stands here at once."""


def spec_of(pipeline: str) -> FamilySpec:
    """Look up the family of a diffusers pipeline class. Raises: ModelUnavailable: if none is."""
    served = {name: spec for spec in list(FAMILIES.values()) for name in spec.pipelines}
    if pipeline not in served:
        raise ModelUnavailable(
            f"no family runs {pipeline!r} models; supported: {', '.join(served)}"
        )
    return served[pipeline]


@cache
def load_family(spec: FamilySpec) -> Family:
    """Import a family's torch half, at the first call. Each is one object.

    Raises: ModelUnavailable: if its row names none.
    """
    family: Family = built(spec, "implementation", spec.implementation, spec)
    return family


def built(spec: FamilySpec, entry: str, name: str, argument: object) -> Any:
    """Import a class that an entry of a family's row names, and call it.

    Raises: ModelUnavailable: naming the row and the entry, if that fails.
    """
    try:
        return resolve_name(name)(argument)
    except Exception as error:
        log.exception("family %r: %s=%r", spec.id, entry, name)
        raise ModelUnavailable(
            f"family {spec.id!r} has {entry} {name!r}, which cannot be used "
            f"({type(error).__name__}: {error}); it must name a class, as module:Class"
        ) from error


def register(spec: FamilySpec) -> Callable[[], None]:
    """Add a family to the registry, as a row in this file does.

    Returns: what takes it out again.
    Raises: InvalidRequest: if it has no id or pipelines, or another has one of them.
    """
    if not spec.id.strip() or not spec.pipelines or not all(map(str.strip, spec.pipelines)):
        raise InvalidRequest(
            f"family {spec.id!r} serves {spec.pipelines!r}; it needs an id, and the name of one "
            "diffusers pipeline class at least"
        )
    for other in list(FAMILIES.values()):
        if spec.id == other.id or set(spec.pipelines) & set(other.pipelines):
            raise InvalidRequest(f"family {spec.id!r} takes the id or a pipeline of {other.id!r}")
    _BY_ID[spec.id] = spec

    def undo() -> None:
        if _BY_ID.get(spec.id) is spec:
            del _BY_ID[spec.id]

    return undo
