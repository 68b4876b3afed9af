"""What the page says of memory, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines import Studio
from pipelines.model_manager.component_cache import Resident

EMPTY = "Nothing is in memory."


def memory_line(studio: Studio) -> str:
    """The line as of now. Waits for no load, and asks for no device before the first one."""
    manager = studio.manager
    residents = manager.residents
    if not any(one.bytes for one in residents):
        # Nothing is known of the device yet: asking would import torch, which takes seconds.
        return EMPTY
    return memory_text(manager.device, manager.budget, residents)


def memory_text(device: str, budget: int, residents: Sequence[Resident]) -> str:
    """Device, memory used of the budget, and what takes it, the largest first."""
    large = sorted((one for one in residents if one.bytes), key=lambda one: -one.bytes)
    here = [one for one in large if not one.waiting]
    waiting = [one for one in large if one.waiting]
    used = sum(one.bytes for one in here)
    parts = [f"{device}: {size(used)} of {size(budget)} in memory: {_names(here) or 'nothing'}"]
    if waiting:
        total = size(sum(one.bytes for one in waiting))
        parts.append(f"{total} beside it: {_names(waiting)}")
    return "; ".join(parts)


def size(count: int) -> str:
    """Bytes in a unit that fits."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _names(residents: Sequence[Resident]) -> str:
    return ", ".join(f"{one.name}{' (in use)' if one.in_use else ''}" for one in residents)
