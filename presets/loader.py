"""Preset loader: reads the TOML files that lie beside this module."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.request.request import Request

_HERE = Path(__file__).parent


class ModelPreset(BaseModel):
    """Model preset: how a model is shown and what it does best with; every field has a default.

    Attributes:
        hub: the hub's id of the model; empty for those that do not come from there.
        revision: the commit there that was looked at; what is fetched never changes silently.
        gigabytes: size of what is fetched, about.
        gated: whether its licence must be accepted on the hub first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    about: str = ""
    licence: str = ""
    sampler: str = Request.model_fields["sampler"].default
    schedule: str = Request.model_fields["schedule"].default
    steps: int = Request.model_fields["steps"].default
    guidance_scale: float = Request.model_fields["guidance_scale"].default
    distilled_guidance: float | None = None
    hub: str = ""
    revision: str = ""
    gigabytes: float = 0.0
    gated: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    examples: tuple[str, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """List the Request fields that this preset recommends, with their values."""
        return {name: getattr(self, name) for name in RECOMMENDED}


RECOMMENDED = ("sampler", "schedule", "steps", "guidance_scale", "distilled_guidance")


@cache
def _models() -> dict[str, ModelPreset]:
    with (_HERE / "models.toml").open("rb") as file:
        return {name: ModelPreset(**entry) for name, entry in tomllib.load(file).items()}


def hub_models() -> dict[str, ModelPreset]:
    """List the models that can be fetched from the hub, by id."""
    return {name: preset for name, preset in _models().items() if preset.hub}


def model_preset(model: str, suggested: Mapping[str, Any] | None = None) -> ModelPreset:
    """Look up the preset of a model id.

    Args:
        suggested: settings for a model without an entry, from its family; without them there
            are general ones.
    """
    return _models().get(model) or ModelPreset(title=model, **(suggested or {}))


def recommended(
    model: str, chosen: Mapping[str, Any], suggested: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge what was chosen into the model's recommended settings (None counts as not chosen).

    A chosen sampler drops the recommended schedule, which may not fit it.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    defaults = model_preset(model, suggested).defaults()
    if "sampler" in given:
        del defaults["schedule"]
    return {**defaults, **given}


def wildcard_folders() -> tuple[Path, ...]:
    """List the folders of wildcards: those that ship, then the user's, which win.

    The user's are in CONTACT_SHEET_WILDCARDS, or in `wildcards` beside the code.
    """
    named = os.environ.get("CONTACT_SHEET_WILDCARDS")
    return _HERE / "wildcards", Path(named) if named else _HERE.parent / "wildcards"


class SheetPreset(BaseModel):
    """Example sheet: a prompt and its axes, as a person would type them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    prompt: str
    axes: tuple[str, ...]


@cache
def sheet_presets() -> tuple[SheetPreset, ...]:
    """List the example sheets, in the order they are shown."""
    with (_HERE / "sheets.toml").open("rb") as file:
        return tuple(SheetPreset(**entry) for entry in tomllib.load(file)["sheet"])
