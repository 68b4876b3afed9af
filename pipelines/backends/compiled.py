"""torch.compile: fused kernels, one compilation a batch size.

The first call of a size takes a minute or more on a CPU, and later processes still take a part of
that: worth it where one process makes many pictures, as on a server.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.backends.base import Place, filled, size_for


class Compiled:
    """The network through torch.compile, with static shapes."""

    static = True

    def __init__(self, network: nn.Module, place: Place, sizes: Sequence[int]) -> None:
        self._network = torch.compile(network, dynamic=False)
        self._sizes = tuple(sizes)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        rows = len(inputs[0])
        output: Tensor = self._network(*filled(inputs, size_for(rows, self._sizes)))
        return output[:rows]

    @classmethod
    def sizes(cls, network: nn.Module, memory: int) -> tuple[int, ...]:
        """Two: one for a picture alone, one for a sheet. Each costs a compilation."""
        return (2, 16)
