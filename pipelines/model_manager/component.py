"""Component keys and parts: tell one module or tokenizer of a model from another, and its size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.checkpoints import diffusers_folder
from pipelines.checkpoints.formats import gguf_header, tensor_files
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.checkpoints.single_file import SingleFile
from pipelines.devices.placement import Home
from pipelines.devices.precision import BYTES, DtypeName
from pipelines.devices.quantization import QUANTIZATIONS, quantized_bytes
from pipelines.utils.digests import digest_of_file, digest_of_files, digest_of_lines

LORA = "LoRA"
"""The class of a part that is a LoRA's file; it belongs to no library."""


@dataclass(frozen=True, slots=True)
class ComponentKey:
    """Component key: equal keys mean the same component in memory.

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
    """Part of a model: says where a component lies and what it takes in memory.

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
    shapes: Mapping[str, tuple[int, ...]], dtype: DtypeName, quantized: str = ""
) -> tuple[int, int]:
    """Count the bytes of tensors in memory, and those of the largest."""
    item = BYTES[dtype]
    largest = max((math.prod(shape) for shape in shapes.values()), default=0) * item
    if quantized:
        return quantized_bytes(shapes, QUANTIZATIONS[quantized].bits, item), largest
    return sum(math.prod(shape) for shape in shapes.values()) * item, largest


def part_of_file(
    single: SingleFile, name: str, library: str, cls: str, dtype: DtypeName, quantized: str = ""
) -> Part:
    """Describe a component of a single file. Raises: ModelUnavailable: if it cannot be read."""
    config = json.dumps(single.configs[name], sort_keys=True)
    source = digest_of_lines([library, cls, name, config, digest_of_file(single.path)])
    all_rows = tensor_files.read_header(single.path).rows
    rows = {one: all_rows[one] for one in single.names(name, all_rows)}
    shapes = {one: row.shape for one, row in rows.items()}
    if single.packed:
        quantized = ""  # in fewer bits already, and stays in those
    size, largest = sizes(shapes, dtype, quantized)
    if single.packed:
        # The largest stays as it was: that much is there while it computes.
        size = gguf_header.bytes_in_memory(rows, BYTES[dtype])
    key = ComponentKey(source, None, dtype, quantized)
    return Part(
        name=name,
        library=library,
        cls=cls,
        folder=single.path,
        key=key,
        bytes=size,
        single=single,
        largest=largest,
    )


def part_of_folder(
    folder: Path, name: str, library: str, cls: str, dtype: DtypeName, quantized: str = ""
) -> Part:
    """Describe a component in a folder. Raises: ModelUnavailable: if it cannot be used."""
    files = diffusers_folder.weight_files(folder.parent, folder.name)
    rest = [file for file in folder.iterdir() if file.suffix in (".json", ".txt", ".model")]
    source = digest_of_lines([library, cls, digest_of_files([*files, *rest])])
    variant = diffusers_folder.variant_of(files[0]) if files else None
    size, largest = sizes(tensor_files.shapes_of(files), dtype, quantized)
    key = ComponentKey(source, variant, dtype, quantized)
    return Part(
        name=name, library=library, cls=cls, folder=folder, key=key, bytes=size, largest=largest
    )


def part_of_controlnet(info: ModelInfo, dtype: DtypeName) -> Part:
    """Describe a ControlNet, in its denoiser's numbers. Raises: ModelUnavailable."""
    return part_of_folder(info.path, f"controlnet {info.id}", "diffusers", info.pipeline, dtype)


def part_of_lora(info: ModelInfo) -> Part:
    """Describe a LoRA, in its file's numbers. Raises: ModelUnavailable."""
    key = ComponentKey(digest_of_file(info.path), None, LORA)
    size = tensor_files.stored_bytes(info.path)
    return Part(name=f"LoRA {info.id}", library="", cls=LORA, folder=info.path, key=key, bytes=size)
