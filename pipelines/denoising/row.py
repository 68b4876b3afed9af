"""Row: one input of the denoiser, and the ControlNet terms that act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.request.control import Control, Mode

if TYPE_CHECKING:
    from torch import Tensor

Condition: TypeAlias = "Tensor | tuple[Tensor, Tensor]"
"""What a family makes of a text: its states, (1, tokens, D), alone or with one more tensor, such
as a pooled embedding, (1, P), or the states' mask."""


def states_of(condition: Condition) -> Tensor:
    """Take a condition's states, (1, tokens, D)."""
    return condition[0] if isinstance(condition, tuple) else condition


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the denoiser.

    Attributes:
        x: (1, C, h, w).
        t: 0-d tensor.
        condition: what the family encoded; equal conditions are one object, so rows can be
            compared by its identity.
        terms: what ControlNets add to it.
        guidance: what the network is told of it; None where it takes none.
        prompt: the condition that ControlNets see instead; None where it is the row's own.
        skip: layers of the network that are left out.
    """

    x: Tensor
    t: Tensor
    condition: Condition
    terms: tuple[ControlTerm, ...] = ()
    guidance: float | None = None
    prompt: Condition | None = None
    skip: tuple[int, ...] = ()

    @property
    def texts(self) -> tuple[int, int]:
        """Identity of its texts: what tells them from those of other rows."""
        return id(self.condition), id(self.prompt)

    @property
    def batch_key(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Key of a batch: the shape of the text embedding, and the layers that are skipped."""
        return tuple(states_of(self.condition).shape), self.skip


def exact_bits(x: Tensor) -> bytes:
    """Take the exact content of a tensor, to compare rows without rounding or hashing."""
    import torch

    flat: bytes = x.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes()
    return flat


def alike(rows: Sequence[Row]) -> int:
    """Count the first rows that may share a batch."""
    first = rows[0].batch_key
    return next((i for i, row in enumerate(rows) if row.batch_key != first), len(rows))


@dataclass(frozen=True, slots=True, eq=False)
class ControlInput:
    """A ControlNet that looks at one map. Equal ones are one object.

    Attributes:
        net: the loaded ControlNet.
        embedding: what it made of the map, (1, …); does not depend on time, so it is made once.
        pools_globally: it adds the same everywhere in the picture.
        takes_guidance: what it adds depends on the distilled guidance.
        prompted: rows without the prompt get what it adds to those with it.
    """

    net: Any
    embedding: Tensor
    pools_globally: bool = False
    takes_guidance: bool = False
    prompted: bool = False


@dataclass(frozen=True, slots=True)
class ControlTerm:
    """What one ControlNet adds to one row: its outputs times `strength`.

    Attributes:
        weighed: fine depths count less (`Control`'s w_l).
    """

    source: ControlInput
    strength: float
    weighed: bool = False


@dataclass(frozen=True, slots=True)
class ScheduledControl:
    """A cell's control with its map and its ControlNet at hand."""

    source: ControlInput
    strength: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    mode: Mode = "balanced"

    @classmethod
    def of(cls, control: Control, source: ControlInput) -> ScheduledControl:
        return cls(source, control.strength, control.start, control.stop, control.mode)

    def at(self, index: int, total: int, cond: bool) -> ControlTerm | None:
        """What it adds at one evaluation to the row with the prompt, or without; None: nothing."""
        cond_only = self.mode == "control" or self.source.pools_globally
        if self.strength == 0.0 or (cond_only and not cond):
            return None
        if not inside(self.start, self.stop, index, total):
            return None
        weighed = self.mode != "balanced" and not self.source.pools_globally
        return ControlTerm(self.source, self.strength, weighed)


def inside(start: float, stop: float, index: int, total: int) -> bool:
    """Whether an evaluation is in a window: all of it is, as diffusers counts."""
    return index / total >= start and (index + 1) / total <= stop
