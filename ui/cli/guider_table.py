"""Rows of the table of guiders, as `python app.py guiders` prints them."""

from __future__ import annotations

from typing import Any

from pipelines.denoising.guiders.registry import GuiderSpec, ModifierSpec


def guider_row(spec: GuiderSpec) -> dict[str, Any]:
    """Describe a guider that a Request chooses."""
    return _row(spec, "--guider", spec.rows, [one.name for one in spec.parameters])


def modifier_row(spec: ModifierSpec) -> dict[str, Any]:
    """Describe a guider around the chosen one."""
    return _row(spec, spec.fields[0], f"+{spec.rows}", [])


def _row(
    spec: GuiderSpec | ModifierSpec, chosen_by: str, rows: int | str, parameters: list[str]
) -> dict[str, Any]:
    return {
        "id": spec.id,
        "label": spec.label,
        "chosen by": chosen_by,
        "rows a step": str(rows),
        "settings": list(spec.fields),
        "parameters": parameters,
        "source": spec.paper,
    }
