"""Component loader: reads one module or tokenizer from its files onto a device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.checkpoints import single_file_loader
from pipelines.devices import offload, precision
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.model_manager.component import LORA, Part


def load(part: Part, device: str) -> Any:
    """The component, ready for inference on the device, at home where its key says.

    Raises: ModelUnavailable: if its class, its files or some of its tensors are missing or wrong.
    """
    import torch

    if part.cls == LORA:
        return load_tensors(part.folder, device)
    library = __import__(part.library)
    cls = getattr(library, part.cls, None)
    if cls is None:
        raise ModelUnavailable(
            f"{part.folder} needs {part.library}.{part.cls}, which the installed "
            f"{part.library} {library.__version__} does not have"
        )
    dtype = getattr(torch, part.key.dtype)
    options: dict[str, Any] = {"local_files_only": True}
    if part.bytes:
        options["use_safetensors"] = True
        options["variant"] = part.key.variant
        options["torch_dtype" if part.library == "diffusers" else "dtype"] = dtype
        options["output_loading_info"] = True
    try:
        if part.single is not None:
            component = single_file_loader.load(part.single, part.name, cls, dtype)
        else:
            component = cls.from_pretrained(str(part.folder), **options)
            if part.bytes:
                component, report = component
                _check_complete(part, report["missing_keys"])
    except ContactSheetError:
        raise
    except Exception as error:  # whatever the library raises, this model cannot be used
        raise ModelUnavailable(f"{part.folder} cannot be loaded: {error}") from error
    if not hasattr(component, "parameters"):
        return component
    component = component.eval().requires_grad_(False)
    widths = getattr(component.config, "block_out_channels", ())
    if precision.channels_last(device, part.library, widths):
        component = component.to(memory_format=torch.channels_last)
    if part.key.quantized:
        from pipelines.devices.quantization import quantize

        component = quantize(component, part.key.quantized)
    if part.attention:
        component.set_attention_backend(part.attention)
    return offload.settle(component, part.key.home, device)


def load_tensors(file: Path, device: str) -> Mapping[str, Any]:
    """A LoRA's tensors, as the file has them. Raises: ModelUnavailable: if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file, device=device)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{file} cannot be loaded: {error}") from None


def _check_complete(part: Part, missing: Collection[str]) -> None:
    """The libraries fill tensors that are missing with random numbers and only warn."""
    if missing:
        raise ModelUnavailable(
            f"{part.folder} lacks {len(missing)} of its tensors, such as {min(missing)!r}; "
            "fetch it again"
        )


def measure(component: Any) -> int:
    """Bytes of a component's parameters and buffers, or of a LoRA's; 0 for a tokenizer."""
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
