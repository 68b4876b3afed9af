"""Control choices: lists what the ControlNet tab's menus offer, read from the registries."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from pipelines import preprocessors
from pipelines.request.control import MODES, NONE
from ui.control_editor.availability import ANY_MODEL, Offer
from ui.control_editor.map_state import MapState

FIRST_NET = ("The one that fits the map", ANY_MODEL)
MODE_NAMES = {"balanced": "Balanced", "prompt": "Prompt first", "control": "Control first"}


def preprocessor_choices(offer: Offer | None = None) -> list[tuple[str, str]]:
    """List label and id of every preprocessor; those that are of no use here say so."""

    def label(name: str) -> str:
        lacks = []
        if not preprocessors.available(name):
            lacks.append("weights")
        if offer is not None and offer.nets and name != NONE and not offer.follows(name):
            lacks.append("ControlNet")
        return preprocessors.describe(name).label + (
            f" (no {', no '.join(lacks)})" if lacks else ""
        )

    return [(label(name), name) for name in preprocessors.names()]


def net_choices(offer: Offer) -> list[tuple[str, str]]:
    """List label and id of the ControlNets that may follow a map."""
    return [FIRST_NET, *((id, id) for id in offer.ids)]


def mode_choices(modes: Sequence[str]) -> list[tuple[str, str]]:
    """List label and id of the modes, in their usual order."""
    return [(MODE_NAMES[mode], mode) for mode in MODES if mode in modes]


def parameters_shown(state: MapState) -> dict[str, Any]:
    """Describe a preprocessor for `parameters.js`: its help and one input a parameter."""
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
    """Write a message that stands where the map would be, as markup."""
    return f'<p class="cs-problem" role="alert">{escape(problem)}</p>' if problem else ""
