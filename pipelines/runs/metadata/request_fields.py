"""Foreign settings as fields of a Request: what it can hold, and why it cannot hold the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.errors import ContactSheetError
from pipelines.request.request import Request
from pipelines.runs.metadata.parts.settings import Sampling, Settings
from pipelines.runs.metadata.parts.synonyms import without_tags

_SUFFIXES = (".safetensors", ".ckpt", ".gguf", ".sft", ".pt")
_REASON_MAX = 200


def held(settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """Sort settings into a Request's fields and those that it cannot hold.

    Returns: fields that make a valid Request together; reasons by name of what is left out.
    """
    fields: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for change in _changes(settings):
        try:
            read = Request(**{**fields, **change}).model_dump()
        except ContactSheetError as error:
            reasons["+".join(change)] = str(error)[:_REASON_MAX]
        else:
            # As a Request spells it: a sampler's name may say the schedule too.
            fields |= {key: read[key] for key in change}
            if read["schedule"] != "default":
                fields["schedule"] = read["schedule"]
    return fields, reasons | dict(_never(settings))


def _changes(settings: Settings) -> Iterator[dict[str, Any]]:
    first = settings.samplings[0] if settings.samplings else Sampling()
    if settings.prompts:
        yield {"prompt": without_tags(settings.prompts[0])}
    if settings.negative_prompts:
        yield {"negative_prompt": "\n".join(settings.negative_prompts)}
    if settings.models:
        yield {"model": _stem(settings.models[0])}
    if first.name:
        yield {"sampler": _sampler(first.name)}
    if first.schedule:
        # What the sampler takes by itself.
        own = first.schedule.lower() == "automatic"
        yield {"schedule": "default" if own else first.schedule}
    numbers = {
        "steps": first.steps,
        "seed": first.seed,
        "guidance_scale": first.scale,
        "distilled_guidance": first.distilled,
        "guidance_rescale": first.rescale,
    }
    for field, text in numbers.items():
        if text:
            yield {field: _number(text, whole=field in ("steps", "seed"))}
    if settings.size:
        width, height = (_number(text, whole=True) for text in settings.size)
        yield {"width": width, "height": height}
    if settings.clip_skip and settings.clip_skip not in ("0", "1"):
        # Other tools count from 1: Clip skip 2 leaves one layer out.
        skipped = _number(settings.clip_skip, whole=True)
        yield {"clip_skip": skipped - 1 if isinstance(skipped, int) else skipped}
    if settings.loras:
        yield {
            "loras": [
                {"name": _stem(one["name"]), "scale": _number(one.get("scale", "1"))}
                for one in settings.loras
            ]
        }


def _never(settings: Settings) -> Iterator[tuple[str, str]]:
    first = settings.samplings[0] if settings.samplings else Sampling()
    if first.denoise and _number(first.denoise) != 1.0:
        yield "denoising_strength", "pictures begin with noise here, not with another picture"
    if settings.vae:
        yield "vae", "the model's own VAE decodes"
    if settings.hires:
        yield "hires", "there is no second pass at a larger size"
    if settings.controlnets:
        yield "controlnets", "the picture that each acted on is not in the file"
    if len(settings.samplings) > 1:
        yield "samplers", f"one of {len(settings.samplings)} passes: the first"
    if len(settings.prompts) > 1:
        yield "prompts", f"one of {len(settings.prompts)} texts: the first"


def _stem(name: str) -> str:
    return next((name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end)), name)


def _sampler(name: str) -> str:
    """A sampler's name without what other tools add: `k_euler`, `dpmpp_2m_sde_gpu`."""
    return name.removeprefix("k_").removeprefix("sample_").removesuffix("_gpu")


def _number(text: str, whole: bool = False) -> Any:
    try:
        value = float(text)
        return int(text) if whole and text.lstrip("-").isdigit() and len(text) < 30 else value
    except ValueError:
        return text[:_REASON_MAX]


def told(settings: Settings) -> Mapping[str, Any]:
    """Settings ready for JSON, with what a Request can hold of them and what it cannot."""
    fields, reasons = held(settings)
    return {**settings.to_json(), "request": fields, "not_held": reasons}
