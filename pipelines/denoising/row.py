"""Row: one input of the denoiser, and the ControlNet terms that act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipelines.steering import Pull


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the denoiser.

    Attributes:
        x: (1, C, h, w).
        t: 0-d tensor.
        condition: what the family encoded; equal conditions are one object, so rows can be
            compared by its identity.
        pulls: what ControlNets add to it.
        guidance: what the network is told of it; None where it takes none.
        prompt: the condition that ControlNets see instead; None where it is the row's own.
        skip: layers of the network that are left out.
    """

    x: Tensor
    t: Tensor
    condition: Any
    pulls: tuple[Pull, ...] = ()
    guidance: float | None = None
    prompt: Any = None
    skip: tuple[int, ...] = ()

    @property
    def texts(self) -> tuple[int, int]:
        """What tells its texts from those of other rows."""
        return id(self.condition), id(self.prompt)

    @property
    def kind(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What rows of one batch have in common: the shape of their conditions, hence as many
        tokens, and the layers they skip."""
        condition = self.condition
        states = condition[0] if isinstance(condition, tuple) else condition
        return tuple(states.shape), self.skip


def alike(rows: Sequence[Row]) -> int:
    """How many of the first rows may share a batch."""
    first = rows[0].kind
    return next((i for i, row in enumerate(rows) if row.kind != first), len(rows))
