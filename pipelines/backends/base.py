"""Backend protocol: a network made ready to compute batches on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class NetworkCache:
    """Cache place of a network: where it comes from, and where what is made of it goes.

    Attributes:
        fingerprint: of the model; different networks have different ones.
        cache: folder for what may be kept on disk; None keeps nothing.
    """

    fingerprint: str
    cache: Path | None


class Denoiser(Protocol):
    """Denoiser: a family's network, ready to compute batches.

    Args:
        network: takes tensors whose first dimension is the batch, and nothing else.
        sizes: batch sizes that may be asked for.
    """

    static: ClassVar[bool]
    """Whether only batches of exactly these sizes can be computed; shorter ones are filled up."""

    def __init__(self, network: nn.Module, place: NetworkCache, sizes: Sequence[int]) -> None: ...

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """The network's output, as many rows as the inputs have."""

    @classmethod
    def sizes(cls, network: nn.Module, memory: int) -> tuple[int, ...]:
        """Batch sizes worth trying on a device with so many bytes of memory."""


def filled(inputs: Sequence[Tensor], size: int) -> list[Tensor]:
    """Fill inputs up to a batch of `size` with copies of their first row."""
    missing = size - len(inputs[0])
    if missing == 0:
        return list(inputs)
    return [torch.cat([value, value[:1].expand(missing, *value.shape[1:])]) for value in inputs]


def size_for(rows: int, sizes: Sequence[int]) -> int:
    """Find the smallest size that holds so many rows.

    Raises: ValueError: if none does; the engine takes no more than the largest.
    """
    return min(size for size in sizes if size >= rows)


def affordable(network: nn.Module, memory: int, wanted: Sequence[int]) -> tuple[int, ...]:
    """Choose as many wanted sizes as copies of the weights fit in a quarter of the memory.

    Args:
        wanted: the most wanted first; the first is always there.
    """
    weights = sum(value.numel() * value.element_size() for value in network.parameters())
    copies = max(1, memory // 4 // max(1, weights))
    return tuple(sorted(wanted[:copies]))
