"""One file a model family. To add one: write it and its traits, and name both in `_CLASSES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from pipelines.errors import ModelUnavailable
from pipelines.families import traits

if TYPE_CHECKING:
    from pipelines.families.base import Family

_SD = (traits.StableDiffusionTraits, "sd", "StableDiffusion")
_CLASSES: dict[str, tuple[type[Any], str, str]] = {
    "StableDiffusionPipeline": _SD,
    "LatentConsistencyModelPipeline": _SD,
    "StableDiffusionXLPipeline": (traits.StableDiffusionXLTraits, "sdxl", "StableDiffusionXL"),
    "StableDiffusion3Pipeline": (traits.StableDiffusion3Traits, "sd3", "StableDiffusion3"),
    "FluxPipeline": (traits.FluxTraits, "flux", "Flux"),
}
"""diffusers pipeline class to its family: traits, file and class; looked up by name so that
listing loads no torch."""


def family_id(pipeline: str) -> str:
    """Short id of the family of a diffusers pipeline class. Raises: ModelUnavailable."""
    return _entry(pipeline)[1]


@cache
def family_of(pipeline: str) -> Family:
    """The family of a diffusers pipeline class. Raises: ModelUnavailable: if none serves it."""
    of, file, name = _entry(pipeline)
    return cast("Family", _OnDemand(of(), f"{__name__}.{file}", name))


class _OnDemand:
    """A family whose file, and torch with it, is imported at the first use of what is no trait."""

    def __init__(self, of: Any, module: str, name: str) -> None:
        self._traits = of
        self._whole = cache(lambda: getattr(import_module(module), name)())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._traits if hasattr(self._traits, name) else self._whole(), name)


def _entry(pipeline: str) -> tuple[type[Any], str, str]:
    try:
        return _CLASSES[pipeline]
    except KeyError:
        known = ", ".join(_CLASSES)
        raise ModelUnavailable(f"no family runs {pipeline!r} models; supported: {known}") from None
