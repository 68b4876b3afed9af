"""Eager backend: computes with torch as it is, in any batch size, with nothing to prepare."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pipelines.backends.base import NetworkCache
from pipelines.denoising.batch_sizes import SIZES


class Eager:
    """Eager network: calls it as it is."""

    static = False

    def __init__(self, network: nn.Module, place: NetworkCache, sizes: Sequence[int]) -> None:
        self._network = network

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        output: Tensor = self._network(*inputs)
        return output

    @classmethod
    def sizes(cls, network: nn.Module, memory: int) -> tuple[int, ...]:
        """All sizes that are tried: none costs more than its rows."""
        return SIZES
