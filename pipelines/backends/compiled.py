"""torch.compile backend: fuses kernels, with one compilation a batch size.

The first call of a size takes a minute or more on a CPU, and later processes still take a part of
that: worth it where one process makes many pictures, as on a server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipelines.backends.base import NetworkCache, filled, size_for


class Compiled:
    """The network through torch.compile, with static shapes."""

    static = True

    def __init__(self, network: nn.Module, place: NetworkCache, sizes: Sequence[int]) -> None:
        _keep_kernels(place)
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


class CompiledBlocks:
    """The network with only its repeated blocks through torch.compile.

    All blocks of a kind and width share one compilation, which takes a fraction of the whole
    network's. Blocks are compiled in place and used so only in here: whoever else calls the
    network, as cells with controls do, finds it as it was.
    """

    static = True

    def __init__(self, network: nn.Module, place: NetworkCache, sizes: Sequence[int]) -> None:
        _keep_kernels(place)
        self._network = network
        self._sizes = tuple(sizes)
        self._blocks = []
        for block in repeated_blocks(network):
            block.compile(dynamic=False)
            self._blocks.append((block, block._compiled_call_impl))
            block._compiled_call_impl = None

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        rows = len(inputs[0])
        with self._compiled():
            output: Tensor = self._network(*filled(inputs, size_for(rows, self._sizes)))
        return output[:rows]

    @contextmanager
    def _compiled(self) -> Iterator[None]:
        for block, compiled in self._blocks:
            block._compiled_call_impl = compiled
        try:
            # A U-Net's blocks have a width for each level, at each size of batch and picture;
            # beyond the usual limit of 8 torch would quietly stop to compile.
            with torch._dynamo.config.patch(recompile_limit=64):
                yield
        finally:
            for block, _ in self._blocks:
                block._compiled_call_impl = None

    @classmethod
    def sizes(cls, network: nn.Module, memory: int) -> tuple[int, ...]:
        """As when the whole network is compiled."""
        return Compiled.sizes(network, memory)


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """List the blocks that diffusers names as repeated; else those in lists of alikes.

    Those are the transformer blocks of SD 3, which `compile_repeated_blocks` refuses.
    """
    modules = list(network.modules())
    names = {name for one in modules for name in getattr(one, "_repeated_blocks", None) or ()}
    if not names:
        lists = [one for one in modules if isinstance(one, nn.ModuleList)]
        kinds = [[type(block).__name__ for block in one] for one in lists]
        names = {some[0] for some in kinds if len(some) > 1 and len(set(some)) == 1}
    return [one for one in modules if type(one).__name__ in names]


def _keep_kernels(place: NetworkCache) -> None:
    """Compiled kernels outlive the process, and the machine's temporary files."""
    if place.cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place.cache))
