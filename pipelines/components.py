"""Components: one module or tokenizer of a model, how it is told from others and loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import catalog, gguf_header, single_file_loading
from pipelines.devices import offload, precision
from pipelines.devices.placement import Home
from pipelines.devices.precision import BYTES, Numbers
from pipelines.devices.quantization import QUANTIZATIONS, quantized_bytes
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.single_file import SingleFile

LORA = "LoRA"
"""The class of a part that is a LoRA's file; it belongs to no library."""


@dataclass(frozen=True, slots=True)
class ComponentKey:
    """What makes two components the same.

    Attributes:
        source: digest of class, config and weight files.
        variant: of the weight files, such as fp16; None for the plain ones.
        dtype: numbers' type in memory; `quantized`: the row of `QUANTIZATIONS` for the layers
            that are stored in fewer bits.
        home: where its weights live.
    """

    source: str
    variant: str | None
    dtype: str
    quantized: str = ""
    home: Home = "device"


@dataclass(frozen=True, slots=True)
class Part:
    """One component a model needs: where it lies and what it will take.

    Attributes:
        bytes: of all its tensors in memory; `largest`: of one of them.
        single: the single file that its tensors are in; None where it has a folder.
        attention: what computes its attention, by diffusers' name; "" for what is usual.
    """

    name: str
    library: str
    cls: str
    folder: Path
    key: ComponentKey
    bytes: int
    single: SingleFile | None = None
    largest: int = 0
    attention: str = ""


def sizes(
    shapes: Mapping[str, tuple[int, ...]], dtype: Numbers, quantized: str = ""
) -> tuple[int, int]:
    """Bytes of these tensors in memory, and of the largest of them."""
    item = BYTES[dtype]
    largest = max((math.prod(shape) for shape in shapes.values()), default=0) * item
    if quantized:
        return quantized_bytes(shapes, QUANTIZATIONS[quantized].bits, item), largest
    return sum(math.prod(shape) for shape in shapes.values()) * item, largest


def part_of_file(
    single: SingleFile,
    name: str,
    library: str,
    cls: str,
    dtype: Numbers,
    digest: str,
    quantized: str = "",
) -> Part:
    """A component of a single file.

    Args:
        digest: of the whole file; reading it again for each component would cost as much again.
    """
    config = json.dumps(single.configs[name], sort_keys=True)
    source = hashlib.sha256("\n".join([library, cls, name, config, digest]).encode()).hexdigest()
    header = catalog.read_header(single.path)
    rows = {one: header[one] for one in single.names(name, header)}
    shapes = {one: tuple(row["shape"]) for one, row in rows.items()}
    size, largest = sizes(shapes, dtype, quantized)
    if single.packed:
        # The largest stays as it was: that much is there while it computes.
        size = gguf_header.bytes_in_memory(rows, BYTES[dtype])
    key = ComponentKey(source, None, dtype, quantized)
    return Part(name, library, cls, single.path, key, size, single, largest)


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
            component = single_file_loading.load(part.single, part.name, cls, dtype)
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
