"""One file a model family. To add one: write it, and name it in `_CLASSES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from pipelines.errors import ModelUnavailable

if TYPE_CHECKING:
    from pipelines.families.base import Family

_CLASSES = {
    "StableDiffusionPipeline": ("pipelines.families.sd", "StableDiffusion"),
    "LatentConsistencyModelPipeline": ("pipelines.families.sd", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("pipelines.families.sdxl", "StableDiffusionXL"),
    "StableDiffusion3Pipeline": ("pipelines.families.sd3", "StableDiffusion3"),
    "FluxPipeline": ("pipelines.families.flux", "Flux"),
}
"""diffusers pipeline class to its family; looked up by name so that listing loads no torch."""


def family_id(pipeline: str) -> str:
    """Short id of the family of a diffusers pipeline class. Raises: ModelUnavailable."""
    return _entry(pipeline)[0].rpartition(".")[2]


@cache
def family_of(pipeline: str) -> Family:
    """The family of a diffusers pipeline class. Raises: ModelUnavailable: if none serves it."""
    module, name = _entry(pipeline)
    family: Family = getattr(import_module(module), name)()
    return family


def _entry(pipeline: str) -> tuple[str, str]:
    try:
        return _CLASSES[pipeline]
    except KeyError:
        known = ", ".join(_CLASSES)
        raise ModelUnavailable(f"no family runs {pipeline!r} models; supported: {known}") from None
