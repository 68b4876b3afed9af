"""What the ControlNet tab offers, read from the registry of preprocessors."""

from __future__ import annotations

from html import escape
from typing import Any

from pipelines import preprocessors
from ui.control_state import MapState


def preprocessor_choices() -> list[tuple[str, str]]:
    """Label and id of every preprocessor; those that cannot run here say so."""
    return [
        (
            preprocessors.describe(name).label
            + ("" if preprocessors.available(name) else " (needs weights)"),
            name,
        )
        for name in preprocessors.names()
    ]


def parameters_shown(state: MapState) -> dict[str, Any]:
    """What `parameters.js` draws: a preprocessor's help and one input a parameter."""
    row = preprocessors.describe(state.preprocessor)
    values = row.canonical(state.parameters)
    return {
        "help": row.help,
        "parameters": [
            {
                "name": one.name, "label": one.label, "kind": one.kind, "help": one.help,
                "low": one.low, "high": one.high, "choices": one.choices, "value": values[one.name],
            }
            for one in row.all_parameters
        ],
    }  # fmt: skip


def problem_text(problem: str) -> str:
    """A message that stands where the map would be."""
    return f'<p class="cs-problem" role="alert">{escape(problem)}</p>' if problem else ""
