"""VAE memory policy: decides to decode at once, one by one (slicing) or in tiles (tiling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COPIES = 3
"""Tensors of the decoder's widest layer at full size that exist at once, at least."""


@dataclass(frozen=True, slots=True)
class VaePlan:
    """VAE plan: says whether to slice, and whether to tile, which changes pixels at seams."""

    slicing: bool = False
    tiling: bool = False


AT_ONCE = VaePlan()


def decode_bytes(batch: int, width: int, height: int, channels: Sequence[int], item: int) -> int:
    """Estimate the bytes that a VAE needs at least to decode, beside its weights.

    Its widest layer at full size has as many channels as the level below the last one, and its
    input, its norm and its output are there at once.

    Args:
        channels: `block_out_channels` of its config.
        item: bytes of a number.
    """
    widest = channels[min(1, len(channels) - 1)]
    return _COPIES * batch * width * height * widest * item


def vae_plan(
    batch: int, width: int, height: int, channels: Sequence[int], item: int, free: int
) -> VaePlan:
    """Plan slices and tiles where a device has not the bytes for all pictures, or one, at once.

    The estimate is a lower bound: nothing is tiled that would have fitted.
    """
    if decode_bytes(batch, width, height, channels, item) <= free:
        return VaePlan()
    one = decode_bytes(1, width, height, channels, item)
    return VaePlan(slicing=batch > 1, tiling=one > free)
