"""Weight quantization: lists the choices, and stores linear layers in fewer bits.

Listing and checking the choices imports none of the packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from pipelines.devices.library_probes import reveal
from pipelines.devices.precision import T5


def quantize(component: Any, name: str) -> Any:
    """Quantize the linear layers of a component.

    Args:
        component: on the CPU, in the numbers it will compute with.
    """
    reveal(QUANTIZATIONS[name].library)
    if name == "nf4":
        return _nf4(component)
    from torchao import quantization

    # Weights alone: activations would need a batch of their own to be scaled by.
    if name == "fp8":
        config = quantization.Float8WeightOnlyConfig()
    else:
        config = quantization.Int8WeightOnlyConfig()
    quantization.quantize_(component, config, _is_linear)
    return component


def _is_linear(module: Any, name: str) -> bool:
    from torch import nn

    return type(module) is nn.Linear and is_quantized(f"{name}.weight", tuple(module.weight.shape))


def _nf4(component: Any) -> Any:
    """4-bit normal floats (Dettmers et al. 2023, arXiv:2305.14314), a scale for 64 numbers."""
    import bitsandbytes
    from torch import nn

    for name, layer in list(component.named_modules()):
        if not _is_linear(layer, name):
            continue
        stored = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            quant_type="nf4",
            compress_statistics=False,
            device="meta",
        )
        stored.weight = bitsandbytes.nn.Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=False
        )
        stored.bias = layer.bias
        place, _, last = name.rpartition(".")
        parent: nn.Module = component.get_submodule(place)
        setattr(parent, last, stored)
    # It quantises when it is moved to where it will be, which every part is.
    return component


@dataclass(frozen=True, slots=True)
class Choice:
    """Choice of an option: one row of its table.

    Attributes:
        library: must be importable; "" for torch's own.
        install: what brings it.
        devices: kinds of device it runs on; () = all.
        bits: of a quantised number, its share of the scales included.
        call: diffusers' name of an attention backend.
    """

    id: str
    library: str = ""
    install: str = ""
    devices: tuple[str, ...] = ()
    bits: float = 0.0
    call: str = ""


QUANTIZE_INSTALL = "pip install -r requirements-quantize.txt"
QUANTIZATIONS = {
    row.id: row
    for row in (
        # One scale of 32 bits for 64 numbers of 4; one for a whole row of 8.
        Choice("nf4", "bitsandbytes", QUANTIZE_INSTALL, ("cpu", "cuda"), bits=4.5),
        Choice("int8", "torchao", QUANTIZE_INSTALL, ("cpu", "cuda"), bits=8.25),
        Choice("fp8", "torchao", QUANTIZE_INSTALL, ("cuda",), bits=8.25),
    )
}
"""How the denoiser's and T5's linear layers may be stored; computing goes on in 16 bits."""


def quantizes(cls: str, denoiser: bool) -> bool:
    """Tell whether a component's layers are stored in fewer bits where that was chosen.

    The denoiser and T5 are nearly all of a large model; the rest is small and more sensitive.
    """
    return denoiser or cls == T5


def is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    """Tell by name and shape in the file whether a weight is of a linear layer that can be."""
    # T5's `wo` is asked for its type, which then must be one to compute with.
    kept = ("embed", "shared", ".wo.", "relative_attention_bias")
    linear = len(shape) == 2 and name.endswith(".weight") and not any(k in name for k in kept)
    # A scale is for 64 numbers of one row, and kernels take rows in blocks; all large layers fit.
    return linear and shape[0] % 64 == shape[1] % 64 == 0


def quantized_bytes(shapes: Mapping[str, tuple[int, ...]], bits: float, item: int) -> int:
    """Count the bytes of a component with so many bits a number in its linear layers.

    The rest has `item` bytes a number.

    Args:
        shapes: of its tensors, by name.
    """
    return sum(
        int(prod(shape) * bits / 8) if is_quantized(name, shape) else prod(shape) * item
        for name, shape in shapes.items()
    )
