"""Components: one module or tokenizer of a model, how it is told from others and loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import catalog, single_file_loading
from pipelines.devices import device_dtype
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
        dtype: numbers' type in memory.
    """

    source: str
    variant: str | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Part:
    """One component a model needs: where it lies and what it will take.

    Attributes:
        single: the single file that its tensors are in; None where it has a folder.
    """

    name: str
    library: str
    cls: str
    folder: Path
    key: ComponentKey
    bytes: int
    single: SingleFile | None = None


def part_of_file(
    single: SingleFile, name: str, library: str, cls: str, dtype: Any, digest: str
) -> Part:
    """A component of a single file.

    Args:
        digest: of the whole file; reading it again for each component would cost as much again.
    """
    config = json.dumps(single.configs[name], sort_keys=True)
    source = hashlib.sha256("\n".join([library, cls, name, config, digest]).encode()).hexdigest()
    header = catalog.read_header(single.path)
    numbers = sum(math.prod(header[one]["shape"]) for one in single.names(name, header))
    key = ComponentKey(source, None, str(dtype))
    return Part(name, library, cls, single.path, key, numbers * dtype.itemsize, single)


def load(part: Part, device: str) -> Any:
    """The component, on the device and ready for inference.

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
    dtype = device_dtype(device)
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
    component = component.to(device).eval().requires_grad_(False)
    if part.library == "diffusers" and device != "cpu":
        # Convolutions run faster on it. Not on the CPU, where cells must equal diffusers' to 1e-4:
        # it sums in another order, and stochastic samplers magnify that beyond it.
        component = component.to(memory_format=torch.channels_last)
    return component


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
    tensors = [*component.parameters(), *component.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
