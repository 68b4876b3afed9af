"""Upper bounds of speed: FLOPs of a row, and FLOP/s of the network's own products at their best."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipelines.errors import ContactSheetError
from pipelines.utils.threads import run_in_short_lived_thread

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

ROWS = (1, 4, 16)
"""Batches that are tried: small ones stay in the cache, large ones keep all cores busy."""
FLOPS_MAX = 2e11
"""Of a batch that is tried, so that large networks take seconds."""
TRIES = 5
FASTEST = 8
"""Products that are measured again between runs, when the machine may be quieter."""


class AboveLimit(ContactSheetError):
    """A share of more than 100 %: the bench has measured something wrongly."""


@dataclass(frozen=True, slots=True)
class Product:
    """Matrix product or convolution at a shape that the network uses.

    Attributes:
        flops: of one call, two a multiplication with its sum.
    """

    layer: nn.Module
    shape: tuple[int, ...]
    flops: int

    def seconds(self, tries: int = TRIES) -> float:
        """Measure it at its best, in either order of the numbers in memory."""
        orders = [torch.contiguous_format]
        if len(self.shape) == 4:
            orders.append(torch.channels_last)
        return min(self._seconds(order, tries) for order in orders)

    def _seconds(self, order: Any, tries: int) -> float:
        numbers = torch.randn(self.shape).to(memory_format=order)
        weight: Any = self.layer.weight
        kept = weight.data
        if len(self.shape) == 4 and weight.dim() == 4:
            weight.data = kept.contiguous(memory_format=order)
        try:
            best = float("inf")
            for _ in range(tries):
                started = time.perf_counter()
                self.layer(numbers)
                best = min(best, time.perf_counter() - started)
        finally:
            weight.data = kept
        return best


class Limit:
    """Limit of speed for a network on this machine, in this process.

    It is what its convolutions and matrix products reach at their best, all else left out:
    nothing that computes these FLOPs in float32 is faster. `measure` is called between runs.

    Attributes:
        row_flops: FLOPs of one row, as torch counts them: products, no elementwise.
        rate: FLOP/s of the fastest product so far.
    """

    def __init__(self, row_flops: int, products: list[Product]) -> None:
        self.row_flops = row_flops
        self._products = products
        self.rate = 0.0
        self.measure()

    @classmethod
    def of(cls, pipe: StableDiffusionPipeline, width: int, height: int) -> Limit:
        """Measure the limit of a pipeline's UNet at a size in pixels."""

        def measured() -> Limit:
            flops = row_flops(pipe, width, height)
            found: list[Product] = []
            for rows in ROWS:
                if rows == 1 or rows * flops <= FLOPS_MAX:
                    inputs = unet_inputs(pipe, width, height, rows)
                    found += products(pipe.unet, partial(pipe.unet, *inputs))
            return cls(flops, found)

        return run_in_short_lived_thread(measured)

    def measure(self) -> None:
        """Measure again and keep what is faster; after the first time the fastest products only."""

        @torch.inference_mode()
        def all_of_them() -> list[float]:
            return [one.flops / one.seconds() for one in self._products]

        rates = run_in_short_lived_thread(all_of_them)
        self.rate = max([self.rate, *rates])
        order = sorted(range(len(rates)), key=lambda i: -rates[i])
        self._products = [self._products[i] for i in order[:FASTEST]]

    def share_of_rows(self, rows: float, seconds: float) -> float:
        """Share of the limit at which so many rows took so long. Raises: AboveLimit."""
        return self.share(rows * self.row_flops, seconds)

    def share(self, flops: float, seconds: float) -> float:
        """Share of the limit at which so many FLOPs took so long.

        Raises: AboveLimit: if it is more than all.
        """
        found = flops / seconds / self.rate
        if found > 1:
            raise AboveLimit(
                f"{flops / seconds / 1e9:.0f} GFLOP/s are {found:.0%} of the limit, "
                f"{self.rate / 1e9:.0f}: the limit is measured too low; close what else runs"
            )
        return found


@torch.inference_mode()
def products(network: nn.Module, call: Callable[[], object]) -> list[Product]:
    """List the convolutions and linear layers that a call of a network runs, each shape once."""
    found: dict[tuple[Any, ...], Product] = {}

    def seen(layer: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        shape = tuple(given[0].shape)
        key = (type(layer), tuple(layer.weight.shape), getattr(layer, "stride", ()), shape)
        # Of every output number: as many multiplications as a filter or a row has weights.
        flops = 2 * made.numel() * layer.weight[0].numel()
        found.setdefault(key, Product(layer, shape, flops))

    with _watched(network, seen):
        call()
    return list(found.values())


@contextmanager
def _watched(network: nn.Module, seen: Callable[..., None]) -> Iterator[None]:
    kinds = (nn.Conv2d, nn.Linear)
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(seen) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def unet_inputs(
    pipe: StableDiffusionPipeline, width: int, height: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Make inputs of a pipeline's UNet: latents, timesteps and text, of so many rows."""
    config: Any = pipe.unet.config
    scale = pipe.vae_scale_factor
    latents = torch.randn(rows, config.in_channels, height // scale, width // scale)
    text = torch.randn(rows, pipe.tokenizer.model_max_length, config.cross_attention_dim)
    return latents, torch.full((rows,), 500.0), text


@torch.inference_mode()
def row_flops(pipe: StableDiffusionPipeline, width: int, height: int) -> int:
    """FLOPs of one row of the pipeline's UNet, as torch counts them: products, no elementwise."""
    inputs = unet_inputs(pipe, width, height, 1)
    with FlopCounterMode(display=False) as counter:
        pipe.unet(*inputs)
    return int(counter.get_total_flops())
