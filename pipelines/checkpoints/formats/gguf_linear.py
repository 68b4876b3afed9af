"""GGUF linear layers: keep their weights in GGML's blocks until they compute.

Their bytes are plain tensors of `uint8`, which move between devices and are measured like any
other, and which no change of numbers' type touches. diffusers knows what the blocks mean; it is
imported where it is asked, as it looks for a network on the way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from pipelines.checkpoints.formats.gguf_header import BLOCKS
from pipelines.checkpoints.formats.header import TensorRow
from pipelines.errors import ModelUnavailable

_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class GGUFLinear(nn.Linear):
    """GGUF linear layer: unpacks its weight from blocks for each call.

    Math: y = x·Wᵀ + b

    Args:
        plain: the layer whose place it takes.
        kind: of the blocks.
        dtype: of the numbers it computes with.
    """

    def __init__(self, plain: nn.Linear, kind: Any, dtype: torch.dtype) -> None:
        rows, columns = plain.weight.shape
        super().__init__(columns, rows, bias=plain.bias is not None, device="meta")
        block, size = BLOCKS[kind.name]
        packed = torch.empty(rows, columns // block * size, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(packed, requires_grad=False)
        self._kind = kind
        self._dtype = dtype

    def forward(self, input: Tensor) -> Tensor:
        weight = whole(self.weight, self._kind, self._dtype)
        return nn.functional.linear(input, weight, self.bias)


def whole(packed: Tensor, kind: Any, dtype: torch.dtype) -> Tensor:
    """Unpack blocks: compute the numbers that they stand for.

    Args:
        packed: rows of whole blocks, uint8.
    """
    from diffusers.quantizers.gguf.utils import dequantize_functions

    block, size = BLOCKS[kind.name]
    # The scales are float16: where the rest computes in 16 bits, more would be lost on the way.
    inside = torch.float32 if dtype == torch.float32 else torch.float16
    numbers = dequantize_functions[kind](packed.reshape(-1, size), block, size, dtype=inside)
    made: Tensor = numbers.reshape(*packed.shape[:-1], -1).to(dtype)
    return made


def read(path: Path, rows: Mapping[str, TensorRow], names: Iterable[str]) -> dict[str, Tensor]:
    """Read tensors of a GGUF file; those in blocks as diffusers' `GGUFParameter`.

    That keeps the kind of its blocks while diffusers' conversions cut rows and put them together.

    Args:
        rows: of the file's header.
    """
    from diffusers.quantizers.gguf.utils import GGUFParameter
    from gguf import GGMLQuantizationType

    data = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    tensors: dict[str, Tensor] = {}
    for name in names:
        row = rows[name]
        start, end = row.data_offsets
        raw = torch.from_numpy(data[start:end].copy())
        if row.dtype in _PLAIN:
            tensors[name] = raw.view(_PLAIN[row.dtype]).reshape(row.shape)
            continue
        block, size = BLOCKS[row.dtype]
        *lines, columns = row.shape
        packed = raw.reshape(*lines, columns // block * size)
        tensors[name] = GGUFParameter(packed, quant_type=GGMLQuantizationType[row.dtype])
    return tensors


def swap_in_gguf_layers(
    model: nn.Module, state: dict[str, Tensor], dtype: torch.dtype, place: str
) -> None:
    """Swap GGUF layers into a model for weights that stay in blocks, and unpack the others.

    Args:
        state: the model's tensors, changed in place.
        dtype: of the numbers it computes with.
        place: where they come from, for the error.
    Raises: ModelUnavailable: if weights in blocks have not the shape of their layer.
    """
    from diffusers.quantizers.gguf.utils import GGUFParameter

    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in state.keys() & shapes.keys():
        tensor = state[name]
        if isinstance(tensor, GGUFParameter):
            owner, _, last = name.rpartition(".")
            layer = model.get_submodule(owner)
            if last == "weight" and isinstance(layer, nn.Linear):
                if tuple(tensor.quant_shape) != shapes[name]:
                    raise ModelUnavailable(
                        f"{place} has not the shapes of {type(model).__name__}: {name} is "
                        f"{tuple(tensor.quant_shape)} and not {shapes[name]}"
                    )
                model.set_submodule(owner, GGUFLinear(layer, tensor.quant_type, dtype))
                state[name] = tensor.as_tensor()
                continue
            tensor = whole(tensor.as_tensor(), tensor.quant_type, dtype)
        # GGML drops ones at a shape's start, such as that of SD 3's table of positions.
        ones = len(shapes[name]) - tensor.dim()
        if ones > 0 and (1,) * ones + tuple(tensor.shape) == shapes[name]:
            tensor = tensor.reshape(shapes[name])
        state[name] = tensor
