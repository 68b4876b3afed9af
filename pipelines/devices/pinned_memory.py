"""Pinned memory: host memory that the device reads by itself, while the program goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

CHUNK = 2**28
"""Bytes that are pinned at once. torch rounds each piece up to a power of two: tensor by tensor,
FLUX' 23.8 GB would take 37.2."""
_ALIGNED = 256


def pin(component: nn.Module) -> None:
    """Move a component's weights into pinned memory; they stay where they are if there is none."""
    tensors = [one for one in _all(component) if not one.is_pinned() and _plain(one)]
    for group in packed([_padded(one) for one in tensors]):
        some = [tensors[index] for index in group]
        try:
            _move(some)
        except RuntimeError as error:
            log.warning("weights are read from memory that is not pinned, slower: %s", error)
            return


def packed(sizes: Sequence[int], chunk: int = CHUNK) -> list[list[int]]:
    """Pack pieces into chunks, the largest first, each where it fits: their indices, by chunk.

    A piece larger than a chunk has one of its own.
    """
    groups: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        size = sizes[index]
        for place, room in enumerate(left):
            if size <= room:
                groups[place].append(index)
                left[place] -= size
                break
        else:
            groups.append([index])
            left.append(chunk - size)
    return groups


def _move(tensors: Sequence[Tensor]) -> None:
    flat = torch.empty(sum(map(_padded, tensors)), dtype=torch.uint8, pin_memory=True)
    start = 0
    with torch.no_grad():
        for one in tensors:
            view = flat[start : start + one.numel() * one.element_size()].view(one.dtype)
            # As strided as it was: convolutions may be channels-last.
            place = view.as_strided(one.shape, one.stride())
            place.copy_(one)
            one.data = place
            start += _padded(one)


def _all(component: nn.Module) -> Iterator[Any]:
    yield from component.parameters()
    yield from component.buffers()


def _plain(tensor: Tensor) -> bool:
    """Whether its bytes are all there is of it, with no gaps; a quantised one is made of others."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == torch.strided
        and tensor.numel() > 0
        and (tensor.is_contiguous() or _channels_last(tensor))
        and not tensor.is_inference()
    )


def _channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _padded(tensor: Tensor) -> int:
    return -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED


def pinned_bytes(sizes: Iterable[int]) -> int:
    """Count what pieces take when they are pinned: chunks, the last ones to a power of two."""
    sizes = [-(-size // _ALIGNED) * _ALIGNED for size in sizes]
    totals = [sum(sizes[index] for index in group) for group in packed(sizes)]
    return sum(1 << (total - 1).bit_length() for total in totals if total)
