"""Component loader: reads one module or tokenizer from its files onto a device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.checkpoints import single_file_loader
from pipelines.devices import offload, precision, quantization
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.model_manager.component import LORA, Part


def load(part: Part, device: str) -> Any:
    """Load a component, ready for inference, at home where its key says.

    Raises: ModelUnavailable: if its class, its files or some of its tensors are missing or wrong.
    """
    if part.cls == LORA:
        return load_tensors(part.folder, device)
    component = _read(part, _class_of(part))
    if not hasattr(component, "parameters"):  # a tokenizer
        return component
    component = _laid_out(component.eval().requires_grad_(False), part, device)
    if part.key.quantized:
        component = quantization.quantize(component, part.key.quantized)
    if part.attention:
        component.set_attention_backend(part.attention)
    return offload.place_component(component, part.key.home, device)


def _class_of(part: Part) -> Any:
    library = import_module(part.library)
    cls = getattr(library, part.cls, None)
    if cls is None:
        raise ModelUnavailable(
            f"{part.folder} needs {part.library}.{part.cls}, which the installed "
            f"{part.library} {library.__version__} does not have"
        )
    return cls


def _read(part: Part, cls: Any) -> Any:
    """The component as its library reads it, on the CPU, in the dtype that its key says."""
    import torch

    dtype = getattr(torch, part.key.dtype)
    try:
        if part.single is not None:
            return single_file_loader.load(part.single, part.name, cls, dtype)
        if not part.bytes:
            return cls.from_pretrained(str(part.folder), local_files_only=True)
        component, report = cls.from_pretrained(
            str(part.folder),
            local_files_only=True,
            use_safetensors=True,
            variant=part.key.variant,
            output_loading_info=True,
            **{"torch_dtype" if part.library == "diffusers" else "dtype": dtype},
        )
        _check_complete(part, report["missing_keys"])
        return component
    except ContactSheetError:
        raise
    except Exception as error:  # whatever the library raises, this model cannot be used
        raise ModelUnavailable(f"{part.folder} cannot be loaded: {error}") from error


def _laid_out(component: Any, part: Part, device: str) -> Any:
    """The component with its convolutions in the memory format that computes fastest."""
    import torch

    widths = getattr(component.config, "block_out_channels", ())
    if precision.channels_last(device, part.library, widths):
        return component.to(memory_format=torch.channels_last)
    return component


def load_tensors(file: Path, device: str) -> Mapping[str, Any]:
    """Load a LoRA's tensors, as its file has them. Raises: ModelUnavailable: if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file, device=device)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{file} cannot be loaded: {error}") from None


def _check_complete(part: Part, missing: Collection[str]) -> None:
    """Refuse a part that lacks tensors, which the libraries fill with random numbers.

    Raises: ModelUnavailable.
    """
    if missing:
        raise ModelUnavailable(
            f"{part.folder} lacks {len(missing)} of its tensors, such as {min(missing)!r}; "
            "fetch it again"
        )


def measure(component: Any) -> int:
    """Measure a component: bytes of its parameters and buffers, or of a LoRA; 0 for a tokenizer."""
    if type(component) is dict:
        return sum(tensor.numel() * tensor.element_size() for tensor in component.values())
    if not hasattr(component, "parameters"):
        return 0
    return sum(_stored(tensor) for tensor in (*component.parameters(), *component.buffers()))


def _stored(tensor: Any) -> int:
    """Bytes of a tensor; of a quantised one, of what it is made of."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_stored(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    scales = getattr(getattr(tensor, "quant_state", None), "absmax", None)
    own = int(tensor.numel() * tensor.element_size())
    return own if scales is None else own + _stored(scales)
