"""Field aliases: what other tools call a Request's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.errors import InvalidRequest

FIELD_ALIASES: Mapping[str, str] = {
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "scheduler": "schedule",
    "sampler_name": "sampler",
    "num_inference_steps": "steps",
    "negative": "negative_prompt",
    "checkpoint": "model",
}
"""Another name to ours. In AUTOMATIC1111, ComfyUI and SwarmUI, a scheduler is a schedule of noise
levels."""


def own_name(name: str) -> str:
    """Translate a field's name as people write it to ours; an unknown one stays as it is."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return FIELD_ALIASES.get(plain, plain)


def by_own_names(fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """Translate the names of fields to ours.

    Raises: InvalidRequest: if one is given under two names.
    """
    found: dict[Any, Any] = {}
    for name, value in fields.items():
        own = FIELD_ALIASES.get(name, name)
        if own in found or (own != name and own in fields):
            raise InvalidRequest(f"{name} and {own} are the same setting; give one")
        found[own] = value
    return found
