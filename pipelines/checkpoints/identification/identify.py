"""Identification: tells what a single file is from the names and shapes of its tensors.

Pure functions of a header as `tensor_files.read_header` gives it; no tensor is read. The order of
the questions matters: a LoRA or a ControlNet repeats the names of the model it is for.

Sources of the layouts: CompVis/stable-diffusion and Stability-AI/generative-models (original SD),
Stability-AI/sd3.5, black-forest-labs/flux, kohya-ss/sd-scripts, and diffusers'
`loaders/single_file_utils.py` and `loaders/lora_conversion_utils.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from pipelines.checkpoints.formats.gguf_header import ARCHITECTURE
from pipelines.checkpoints.formats.header import Header
from pipelines.checkpoints.identification.addons import controlnet, embedding, lora
from pipelines.checkpoints.identification.denoiser import (
    Found,
    Shapes,
    Unknown,
    denoiser,
    has,
    unet_variant,
)
from pipelines.checkpoints.identification.foreign import (
    check_unet,
    check_vae,
    refuse_autoencoder,
    refuse_denoiser,
    text_encoder,
)
from pipelines.checkpoints.identification.noise import (
    has_zero_snr,
    prediction_of,
    unread_noise_levels,
)
from pipelines.checkpoints.identification.quantized import is_scaled, unread_form
from pipelines.errors import ModelUnavailable
from pipelines.families import FAMILIES, FamilySpec

Kind = Literal["checkpoint", "denoiser", "lora", "controlnet", "vae", "embedding", "encoder"]

_VAE = ("first_stage_model.", "vae.")
_CLIP_L, _CLIP_G, _T5 = (f"text_encoders.{n}.transformer." for n in ("clip_l", "clip_g", "t5xxl"))
_SD3 = {
    "text_encoder": (_CLIP_L,), "text_encoder_2": (_CLIP_G,), "text_encoder_3": (_T5,), "vae": _VAE,
}  # fmt: skip
_FLUX = {"text_encoder": (_CLIP_L,), "text_encoder_2": (_T5,), "vae": _VAE}


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """Published model: what its single files hold.

    Attributes:
        label: its name for people.
        family: the id of its family in the registry.
        parts: its components besides its denoiser, and how their tensors' names begin.
    """

    label: str
    family: str
    parts: Mapping[str, tuple[str, ...]]


PUBLISHED: Mapping[str, PublishedModel] = {
    "sd1": PublishedModel(
        "SD 1.x", "sd", {"text_encoder": ("cond_stage_model.transformer.",), "vae": _VAE}
    ),
    "sd2": PublishedModel(
        "SD 2.x", "sd", {"text_encoder": ("cond_stage_model.model.",), "vae": _VAE}
    ),
    "sdxl": PublishedModel(
        "SDXL base",
        "sdxl",
        {
            "text_encoder": ("conditioner.embedders.0.transformer.",),
            "text_encoder_2": ("conditioner.embedders.1.model.",),
            "vae": _VAE,
        },
    ),
    "sdxl-refiner": PublishedModel(
        "SDXL refiner",
        "sdxl",
        {"text_encoder_2": ("conditioner.embedders.0.model.",), "vae": _VAE},
    ),
    "sd3-medium": PublishedModel("SD 3 medium", "sd3", _SD3),
    "sd3.5-medium": PublishedModel("SD 3.5 medium", "sd3", _SD3),
    "sd3.5-large": PublishedModel("SD 3.5 large", "sd3", _SD3),
    "flux-dev": PublishedModel("FLUX.1 dev", "flux", _FLUX),
    "flux-schnell": PublishedModel("FLUX.1 schnell", "flux", _FLUX),
}
"""Published models by the id that identification gives them."""

_OUTER = ("module.", "_orig_mod.", "state_dict.", "model.", "net.", "network.")
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2", "I8": "int8", "U8": "uint8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identification:
    """Identification: says what a single file is.

    Attributes:
        kind: a checkpoint has more than its denoiser.
        families: the published models it may be; several where the tensors cannot tell.
        layout: original, diffusers, kohya, peft or lycoris.
        precision: of its numbers, the most frequent first, such as `float8_e4m3 + bfloat16`.
        missing: components of the family that are not in it; tokenizers never are.
        variant: what sets it apart from the plain model, such as inpainting or lcm.
        prediction: epsilon or v_prediction, where the file says so.
        prefix: how the names of the denoiser's tensors begin.
        unread_form: the quantization of its weights, where that is one that is not read.
        outer: how the names of all its tensors begin, where a program saved a wrapped module.
        zero_snr: whether its last noise level has no signal left.
        noise_levels: the name of those it was trained on, where they are none that is run here.
    """

    kind: Kind
    families: tuple[str, ...]
    layout: str
    precision: str = ""
    missing: tuple[str, ...] = ()
    variant: str = ""
    prediction: str = ""
    prefix: str = ""
    unread_form: str = ""
    outer: str = ""
    zero_snr: bool = False
    noise_levels: str = ""

    @property
    def family(self) -> str:
        """The one family it belongs to; empty where several are possible."""
        return self.families[0] if len(self.families) == 1 else ""

    @property
    def spec(self) -> FamilySpec:
        """The family of the registry that runs it, if it is a model of one."""
        return FAMILIES[PUBLISHED[self.family].family]

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        names = " or ".join(PUBLISHED[one].label for one in self.families) or "an unknown family"
        nouns = {
            "checkpoint": "checkpoint", "denoiser": "denoiser alone", "lora": "LoRA",
            "controlnet": "ControlNet", "vae": "VAE", "embedding": "textual inversion",
            "encoder": "text encoder",
        }  # fmt: skip
        variant = f" {self.variant}" if self.variant else ""
        layout = f"{self.layout} layout, " if self.layout else ""
        text = f"{names}{variant} {nouns[self.kind]} ({layout}{self.precision})"
        if self.kind not in ("checkpoint", "denoiser"):
            text = f"{nouns[self.kind]} for {names}{variant} ({layout}{self.precision})"
        lacks = ", ".join(name.replace("_", " ") for name in self.missing)
        return f"{text}, without {lacks}" if lacks else text


def recognise(header: Header, name: str) -> Identification:
    """Identify the file that has this header.

    Args:
        name: the file's, for the error.
    Raises: ModelUnavailable: if it is of no kind that is known here.
    """
    shapes = header.shapes
    precision = _precision(header)
    outer = _wrapper(shapes)
    bare = {one.removeprefix(outer): shape for one, shape in shapes.items()} if outer else shapes
    try:
        for question in _DETECTORS:
            found = question(bare)
            if found is not None:
                return replace(
                    found,
                    prefix=outer + found.prefix,
                    outer=outer,
                    precision=precision,
                    prediction=prediction_of(header),
                    zero_snr=has_zero_snr(header),
                    noise_levels=unread_noise_levels(header),
                    unread_form=unread_form(header),
                )
    except Unknown as error:
        raise ModelUnavailable(f"{name} is {error}, which is not supported") from None
    sample = f", such as {min(shapes)!r}," if shapes else ""
    kind = header.metadata.get(ARCHITECTURE)
    labels = ", ".join(one.label for one in PUBLISHED.values())
    raise ModelUnavailable(
        f"{name} is no model that is known here: its {len(shapes)} tensors{sample} are not "
        f"those of {labels}, nor of a LoRA, ControlNet, VAE or textual "
        f"inversion for them{f'; it calls its architecture {kind!r}' if kind else ''}"
    )


def _model(shapes: Shapes) -> Identification | None:
    refuse_denoiser(shapes)
    found = denoiser(shapes)
    if found is None:
        return None
    families, layout, prefix = found
    check_unet(families[0], shapes, prefix)
    there: list[str] = []
    missing: list[str] = []
    for part, prefixes in PUBLISHED[families[0]].parts.items():
        given = prefixes if layout == "original" else (f"{part}.",)
        (there if any(has(shapes, p) for p in given) else missing).append(part)
    return Identification(
        kind="checkpoint" if there else "denoiser",
        families=families,
        layout=layout,
        missing=tuple(missing),
        variant=unet_variant(shapes, prefix),
        prefix=prefix,
    )


def _encoder(shapes: Shapes) -> Identification | None:
    families = text_encoder(shapes)
    return None if families is None else Identification("encoder", families, "")


def _wrapper(shapes: Shapes) -> str:
    """What all names begin with that only says how a module was wrapped when it was saved."""
    outer = ""
    while shapes:
        more = (word for word in _OUTER if all(n.startswith(outer + word) for n in shapes))
        if not (one := next(more, "")):
            break
        outer += one
    return outer


def _vae(shapes: Shapes) -> Identification | None:
    refuse_autoencoder(shapes)
    for prefix in (*_VAE, ""):
        latent = shapes.get(f"{prefix}decoder.conv_in.weight")
        if latent is None or len(latent) != 4:
            continue
        for mark, layout in (("decoder.up_blocks.", "diffusers"), ("decoder.up.", "original")):
            if has(shapes, prefix + mark):
                check_vae(shapes, prefix)
                families = tuple(
                    id
                    for id, one in PUBLISHED.items()
                    if FAMILIES[one.family].latent_channels == latent[1]
                )
                return Identification("vae", families, layout, prefix=prefix)
    return None


def _addon(kind: Kind, look: Callable[[Shapes], Found | None]) -> _Question:
    def question(shapes: Shapes) -> Identification | None:
        found = look(shapes)
        return None if found is None else Identification(kind, found[0], found[1], prefix=found[2])

    return question


_Question = Callable[[Shapes], Identification | None]
_DETECTORS: tuple[_Question, ...] = (
    _addon("lora", lora),
    _addon("embedding", embedding),
    _addon("controlnet", controlnet),
    _model,
    _vae,
    _encoder,
)


def _precision(header: Header) -> str:
    """Types of at least a twentieth of all numbers, the most frequent first."""
    if any(".quant_state.bitsandbytes__" in name for name in header.rows):
        return "bitsandbytes 4 bit"
    counts: Counter[str] = Counter()
    for row in header.rows.values():
        counts[row.dtype] += prod(row.shape)
    total = sum(counts.values())
    names = [_DTYPES.get(d, d) for d, n in counts.most_common() if n * 20 >= total]
    text = " + ".join(names) or "empty"
    return f"scaled {text}" if is_scaled(header) else text
