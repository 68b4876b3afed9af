"""Writes GGUF files with ggml's own package, for the tests that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy
import torch
from diffusers.loaders import single_file_utils
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray
from torch import Tensor

from tests.helpers import ldm, tiny_families

NAME = "one.gguf"
State = dict[str, Tensor]
Kinds = Callable[[str, Tensor], str]
"""Name and tensor to the type it is stored in."""

_SCALES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82),
    "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}  # fmt: skip
"""Where the float16 of a block are."""


def large(kind: str) -> Kinds:
    """Linear layers in one type where their rows have whole blocks, the rest in float32."""
    block = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0]

    def choose(name: str, tensor: Tensor) -> str:
        fits = tensor.dim() == 2 and tensor.shape[1] % block == 0
        return kind if fits and name.endswith(".weight") else "F32"

    return choose


def write(
    path: Path,
    state: Mapping[str, Tensor],
    kinds: Kinds,
    *,
    architecture: str = "flux",
    alignment: int | None = None,
) -> State:
    """Writes tensors. Returns: what the package reads them as, in float32."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_array("general.tags", ["text-to-image", "tiny"])
    writer.add_array("general.numbers", [1, 2, 3])
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    read: State = {}
    for name, tensor in state.items():
        kind = GGMLQuantizationType[kinds(name, tensor)]
        packed = pack(tensor, kind)
        read[name] = torch.from_numpy(quants.dequantize(packed, kind).reshape(tensor.shape))
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read


def pack(tensor: Tensor, kind: GGMLQuantizationType) -> NDArray[numpy.generic]:
    """A tensor in a type; where the package cannot write that, other numbers of the same shape."""
    try:
        plain = tensor.detach().float().contiguous().numpy()
        return numpy.asarray(quants.quantize(plain, kind))
    except NotImplementedError:
        return random_blocks(tuple(tensor.shape), kind)


def random_blocks(shape: tuple[int, ...], kind: GGMLQuantizationType) -> NDArray[numpy.uint8]:
    """Blocks of every bit pattern, with scales that make small numbers of them."""
    block, size = GGML_QUANT_SIZES[kind]
    random = numpy.random.default_rng(len(shape) + shape[-1])
    count = int(numpy.prod(shape)) // block
    blocks = random.integers(0, 256, (count, size), dtype=numpy.uint8)
    for place, scale in zip(_SCALES[kind.name], (3e-5, 2e-4), strict=False):
        scales = (scale * random.uniform(0.5, 1.5, (count, 1))).astype(numpy.float16)
        blocks[:, place : place + 2] = scales.view(numpy.uint8)
    return blocks.reshape(*shape[:-1], shape[-1] // block * size)


def write_header(path: Path, shapes: Mapping[str, Any], kinds: Kinds) -> Path:
    """A file with a header of these tensors and none of their data on the disk."""
    writer = gguf.GGUFWriter(str(path), "flux")
    total = 0
    for name, shape in shapes.items():
        tensor = torch.empty(tuple(getattr(shape, "shape", shape)), device="meta")
        kind = GGMLQuantizationType[kinds(name, tensor)]
        block, size = GGML_QUANT_SIZES[kind]
        *rows, columns = tensor.shape or (1,)
        length = tensor.numel() // block * size
        packed = [*rows, columns // block * size]
        byte = numpy.dtype(numpy.uint8)
        writer.add_tensor_info(name, packed, byte, length, raw_dtype=kind)
        total += -(-length // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        begin = -(-path.stat().st_size // 32) * 32
        file.truncate(begin + total)
    return path


def original(family: str, pipe: Any) -> State:
    """A transformer's tensors as they are published.

    diffusers converts FLUX at its full width only, so a tiny one keeps diffusers' names.
    """
    state = pipe.transformer.state_dict()
    return state if family == "flux-dev" else ldm.under("", ldm.sd3(state, 2))


def back(family: str, state: State) -> State:
    if family == "flux-dev":
        return state
    return dict(single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(dict(state)))


def shop(folder: Path, family: str, kind: str, pipe: Any = None) -> Path:
    """A models folder with a pipeline, `plain`, and its transformer in a GGUF file.

    The folder has the weights that the file's stand for, as ggml's own package reads them.
    """
    pipe = pipe or tiny_families.MAKERS[family]()
    read = write(folder / NAME, original(family, pipe), large(kind))
    pipe.transformer.load_state_dict(back(family, read))
    pipe.save_pretrained(folder / "plain", safe_serialization=True)
    return folder
