"""Grouping: sorts a run's cells by model, by LoRAs and by size. Nothing is loaded here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from pipelines.request.lora import State
from pipelines.request.request import Request

Size = tuple[int, int]
Sizes = Mapping[Size, Sequence[int]]
"""Cells by size."""
States = Mapping[State, Sizes]
"""Cells of one model by the LoRAs in its weights, then by size."""

Addons = tuple[tuple[str, ...], tuple[str, ...]]
"""The ControlNets and the LoRAs that a cell needs."""


def group(cells: Sequence[Request], skip: Collection[int] = ()) -> dict[str, States]:
    """Group cells by model, then by LoRAs, then by size, those in `skip` left out.

    Each model is loaded once, its weights are changed once a state, equal sizes share batches.
    """
    groups: dict[str, dict[State, dict[Size, list[int]]]] = {}
    for cell, request in enumerate(cells):
        if cell not in skip:
            size = (request.width or 0, request.height or 0)
            of_model = groups.setdefault(request.model, {})
            of_state = of_model.setdefault(request.active_loras, {})
            of_state.setdefault(size, []).append(cell)
    return dict(groups)


def cell_order(states: States) -> list[int]:
    """List all cells, in the order in which they are made."""
    return [cell for sizes in states.values() for cell in chain(*sizes.values())]


def restrict(some: Collection[int], states: States) -> States:
    """Restrict groups to some of the cells."""
    found: dict[State, dict[Size, list[int]]] = {}
    for state, sizes in states.items():
        for size, cells in sizes.items():
            kept = [cell for cell in cells if cell in some]
            if kept:
                found.setdefault(state, {})[size] = kept
    return found


def union_of_addons(addons: Iterable[Addons]) -> Addons:
    """Join the ControlNets and the LoRAs of several cells, each once."""
    controls, loras = zip(*addons, strict=True)
    return tuple(dict.fromkeys(chain(*controls))), tuple(dict.fromkeys(chain(*loras)))
