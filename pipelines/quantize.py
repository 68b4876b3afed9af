"""Stores linear layers in fewer bits. The same code on every device and for every source."""

from __future__ import annotations

from typing import Any

from pipelines.saving import is_quantized


def quantize(component: Any, name: str) -> Any:
    """The component with its linear layers quantised, as `saving.QUANTIZATIONS` has them.

    Args:
        component: on the CPU, in the numbers it will compute with.
    """
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
