"""Names of settings: which words of which tools mean the same, and a reader of flat mappings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from pipelines.runs.metadata.parts.json_text import plain
from pipelines.runs.metadata.parts.settings import Sampling, Settings, said

# In order of preference; letter case, blanks and underscores do not count.
NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "positiveprompt", "positive", "basecaption"),
    "negative": ("negativeprompt", "negative", "uc"),
    "sampler": ("sampler", "samplername", "comfyuisampler"),
    "steps": ("steps", "numinferencesteps", "numsteps"),
    "scale": ("cfgscale", "guidancescale", "cfg", "scale"),
    "seed": ("seed", "noiseseed"),
    "schedule": ("scheduletype", "scheduler", "schedule", "noiseschedule", "comfyuischeduler"),
    "distilled": ("distilledcfgscale", "fluxguidancescale", "distilledguidance", "guidance"),
    "rescale": ("cfgrescale", "cfgrescalemultiplier", "guidancerescale"),
    "denoise": ("denoisingstrength", "strength", "denoise", "promptstrength"),
    "model": (
        "model",
        "basemodel",
        "basemodelname",
        "modelname",
        "usestablediffusionmodel",
        "checkpoint",
    ),
    "vae": ("vae", "vaename", "usevaemodel", "sdvae"),
    "clip_skip": ("clipskip",),
    "size": ("size", "resolution"),
}
_SIZE = re.compile(r"(\d{1,6})\D{1,5}(\d{1,6})")
_TAG = re.compile(r"<(?:lora|lyco|locon):([^<>:]+)(?::([^<>:]*))?[^<>]*>")
_NOTHING = {"", "none", "null", "automatic", "default (model)"}


def folded(name: str) -> str:
    """A name without letter case, blanks and signs."""
    return re.sub(r"[\W_]+", "", name.lower())


def from_mapping(generator: str, fields: Mapping[str, Any], **more: Any) -> Settings:
    """Read settings from a flat mapping by any tool's names.

    Args:
        more: fields of Settings that the tool's own reader found.
    """
    # The first of a name counts, as later ones are those of an extension.
    known: dict[str, Any] = {}
    for key, one in fields.items():
        if one is not None:
            known.setdefault(folded(key), one)

    def get(field: str) -> str | None:
        return next((text for key in NAMES[field] if (text := plain(known.get(key)))), None)

    prompt = get("prompt")
    found: dict[str, Any] = {
        "prompts": said([prompt]),
        "negative_prompts": said([get("negative")]),
        "samplings": (
            Sampling(
                name=get("sampler"),
                steps=get("steps"),
                scale=get("scale"),
                seed=get("seed"),
                schedule=get("schedule"),
                distilled=get("distilled"),
                rescale=get("rescale"),
                denoise=get("denoise"),
            ),
        ),
        "models": said([file_name(get("model"))]),
        "size": size(get("size"), known.get("width"), known.get("height")),
        "clip_skip": get("clip_skip"),
        "vae": file_name(get("vae")),
        "loras": lora_tags(prompt or ""),
    }
    found.update({key: one for key, one in more.items() if one})
    return Settings(generator=generator, **found)


def size(text: str | None, width: Any = None, height: Any = None) -> tuple[str, str] | None:
    """Read width and height from `512x768`, `(896, 1152)`, or two values."""
    match = _SIZE.search(text or "")
    if match is not None:
        return match[1], match[2]
    pair = plain(width), plain(height)
    return (pair[0], pair[1]) if pair[0] and pair[1] else None


def file_name(text: str | None) -> str | None:
    """A model's name without its folders; None where the tool says that there is none."""
    if text is None or text.lower() in _NOTHING:
        return None
    return PurePosixPath(text.replace("\\", "/")).name or text


def lora_tags(prompt: str) -> tuple[Mapping[str, str], ...]:
    """LoRAs that a prompt names: `<lora:name:0.8>`."""
    found = {match[1]: match[2] for match in _TAG.finditer(prompt)}
    return tuple(lora(name, scale) for name, scale in found.items())


def without_tags(prompt: str) -> str:
    """A prompt without its LoRA tags."""
    return _TAG.sub("", prompt).strip()


def lora(name: Any, scale: Any = None) -> Mapping[str, str]:
    """One LoRA with its scale, where that is known."""
    told = {"name": file_name(plain(name)) or "", "scale": plain(scale) or ""}
    return {key: one for key, one in told.items() if one}


def loras(pairs: Iterable[tuple[Any, Any]]) -> tuple[Mapping[str, str], ...]:
    """LoRAs with their scales, those without a name left out."""
    return tuple(one for name, scale in pairs if "name" in (one := lora(name, scale)))
