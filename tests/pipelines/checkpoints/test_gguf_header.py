"""A GGUF file is recognised, or refused by name, from its header alone."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="pip install -r requirements-quantize.txt")

import gguf
from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.checkpoints.catalog import find, locate
from pipelines.checkpoints.formats.gguf_header import (
    BLOCKS,
    PLAIN,
    bytes_in_memory,
    parse,
    type_name,
)
from pipelines.checkpoints.single_file_catalog import recognise_file
from pipelines.errors import ModelUnavailable
from tests.helpers import ldm, tiny_families
from tests.helpers.gguf_files import large, write, write_header
from tests.pipelines.checkpoints.test_identify import LDM, MODELS, prefixed
from tests.pipelines.checkpoints.test_single_file import real_model

NAME = "x.gguf"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file: a tiny FLUX in 8 bits."""
    file = tmp_path_factory.mktemp("good") / NAME
    write(file, tiny_families.flux().transformer.state_dict(), large("Q8_0"))
    return file.read_bytes()


def info_of(folder: Path, name: str = NAME) -> Any:
    return {info.id: info for info in find([folder])}[name]


def test_the_tables_are_ggmls() -> None:
    read = {kind: name for kind in GGMLQuantizationType if (name := type_name(kind))}
    assert read == {kind: kind.name for kind in read}
    assert set(read.values()) == BLOCKS.keys() | PLAIN.keys()
    for kind, name in read.items():
        assert (BLOCKS.get(name) or (1, PLAIN[name])) == GGML_QUANT_SIZES[kind]
    assert {kind.name for kind in SUPPORTED_GGUF_QUANT_TYPES} == BLOCKS.keys() | {"BF16"}


@pytest.mark.parametrize("alignment", [None, 64])
def test_the_header_is_what_ggmls_own_reader_reads(tmp_path: Path, alignment: int | None) -> None:
    file = tmp_path / NAME
    state = tiny_families.flux().transformer.state_dict()
    write(file, state, large("Q8_0"), alignment=alignment)
    header = parse(file, file.stat().st_size)
    assert header.metadata == {"general.architecture": "flux"}
    assert header.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
    for tensor in gguf.GGUFReader(file).tensors:
        start, size = int(tensor.data_offset), int(tensor.n_bytes)
        assert header.rows[tensor.name].dtype == tensor.tensor_type.name
        assert header.rows[tensor.name].data_offsets == (start, start + size)


def test_it_is_listed_and_found(tmp_path: Path, good: bytes) -> None:
    tiny_families.flux().save_pretrained(tmp_path / "flux")
    (tmp_path / NAME).write_bytes(good)
    (tmp_path / "Y.GGUF").write_bytes(good)
    info = info_of(tmp_path)
    assert (info.family, info.source, info.problem) == ("flux", "denoiser", None)
    assert info.bytes == len(good)
    assert info.single.found.sentence == (
        "FLUX.1 dev denoiser alone (diffusers layout, Q8_0), without text encoder, "
        "text encoder 2, vae"
    )
    assert set(info.single.donated) == {
        "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "vae",
    }  # fmt: skip
    assert locate(NAME, [tmp_path]) == info
    assert locate(str(tmp_path / NAME), [tmp_path]).id == NAME, "a path works as well"
    assert info_of(tmp_path, "Y.GGUF").problem is None


@pytest.mark.parametrize(
    ("family", "prefix", "least"),
    [("flux-dev", "", 6.5e9), ("flux-schnell", LDM, 6.5e9), ("sd3-medium", "", 1.1e9)],
)
def test_a_published_one_is_recognised_without_its_tensors(
    tmp_path: Path, family: str, prefix: str, least: float
) -> None:
    """Gigabytes that are not on the disk, in the types of a published file."""
    state = real_model(family, "transformer").state_dict()
    state = ldm.sd3(state, 24) if family == "sd3-medium" else ldm.flux(state)
    file = write_header(tmp_path / NAME, prefixed(prefix, state), large("Q4_K"))
    assert file.stat().st_size > least and file.stat().st_blocks < 10_000
    began = time.perf_counter()
    found = recognise_file(file)
    assert time.perf_counter() - began < 0.1
    assert (found.kind, found.family, found.layout) == ("denoiser", family, "original")
    assert found.precision.startswith("Q4_K")
    size = bytes_in_memory(parse(file, file.stat().st_size).rows, 2)
    assert least < size < file.stat().st_size, "the rest is float32 in the file"
    problem = info_of(tmp_path).problem
    assert problem.startswith(f"{file} has no text_encoder, text_encoder_2, tokenizer, ")
    assert f"or these parts of one into {tmp_path / 'x'}" in problem


def test_a_link_that_leaves_the_models_folders(tmp_path: Path, good: bytes) -> None:
    away, folder = tmp_path / "away", tmp_path / "models"
    away.mkdir()
    folder.mkdir()
    (away / NAME).write_bytes(good)
    (folder / NAME).symlink_to(away / NAME)
    assert "outside the models folders; name that folder with --models" in info_of(folder).problem


# ---- refusals


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def head(tensors: int = 1, pairs: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def row(name: str, shape: tuple[int, ...], kind: int = 0, start: int = 0) -> bytes:
    given = struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, start)
    return text(name) + given


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")


def words_of(count: int) -> bytes:
    """A language model's vocabulary."""
    words = struct.pack("<IIQ", 9, 8, count) + text("word") * count
    return head(1, 2) + ARCHITECTURE + text("tokenizer.ggml.tokens") + words


def pair(key: str, kind: int, value: bytes) -> bytes:
    return head(1, 1) + text(key) + struct.pack("<I", kind) + value


def followed(header: bytes, data: int) -> bytes:
    """A header and so many bytes of tensors."""
    return header + b"\0" * (-len(header) % 32 + data)


def tensors(names: dict[str, tuple[int, ...]]) -> Callable[[Path], Any]:
    return lambda path: write_header(path, names, lambda *_: "F16")


def bytes_of(data: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(data)


NULL = b"\0" * 999
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (bytes_of(b""), "is not a GGUF file, or it is cut short (0 bytes)"),
    "text": (bytes_of(b"hello, world, I am a model"), "is not a GGUF file"),
    "safetensors": (bytes_of(struct.pack("<Q", 2) + b"{}"), "is not a GGUF file"),
    "version 1": (bytes_of(head(version=1) + NULL), "is a GGUF file of version 1; little-endian"),
    "big-endian": (bytes_of(b"GGUF\0\0\0\x03" + NULL), "is a GGUF file big-endian; little"),
    "no tensors": (bytes_of(head(0)), "its 0 tensors"),
    "countless pairs": (bytes_of(head(1, 2**64 - 1) + NULL), "longer than any of those"),
    "countless tensors": (bytes_of(head(2**64 - 1) + NULL), "longer than any of those"),
    "too few pairs": (bytes_of(head(1, 99) + ARCHITECTURE), "or it is cut short"),
    "twice": (bytes_of(head(2) + row("a", (4,)) * 2), "'a' twice"),
    "long name": (bytes_of(head() + struct.pack("<Q", 2**63) + NULL), "bad header"),
    "no text": (bytes_of(head() + struct.pack("<Q", 2) + b"\xff\xfe" + NULL), "bad header"),
    "long value": (bytes_of(pair("a", 8, struct.pack("<Q", 2**63) + NULL)), "it is cut short"),
    "long array": (bytes_of(pair("a", 9, struct.pack("<IQ", 4, 2**62) + NULL)), "it is cut short"),
    "nested": (bytes_of(pair("a", 9, struct.pack("<IQ", 9, 2) + NULL)), "bad header"),
    "value of no type": (bytes_of(pair("a", 99, NULL)), "bad header"),
    "alignment": (
        bytes_of(pair("general.alignment", 4, struct.pack("<I", 0) + NULL)), "its alignment is 0",
    ),
    "vocabulary": (
        bytes_of(words_of(200_000)), "is no denoiser: its header is longer than any of those (its "
        "architecture is 'llama')",
    ),
    "other type": (bytes_of(head() + row("a", (256,), 29) + NULL), "stores 'a' as type 29 of GGML"),
    "odd rows": (
        bytes_of(head() + row("a", (33, 32), 8) + NULL), "rows of 33 numbers in blocks of 32",
    ),
    "five dimensions": (bytes_of(head() + row("a", (1, 1, 1, 1, 1)) + NULL), "bad header"),
    "across": (
        bytes_of(head(2) + row("a", (64,)) + row("b", (64,), 0, 32) + NULL), "across each other",
    ),
    "no data": (bytes_of(head() + row("a", (2**40, 2**40))), "is damaged: it has"),
    "more data": (bytes_of(head() + row("a", (4,)) + NULL), "is damaged: it has"),
    "cut anew": (
        bytes_of(pair("comfy.gguf.orig_shape.a", 9, struct.pack("<IQ", 4, 0))),
        "have other shapes than the model's",
    ),
    "a language model": (
        bytes_of(followed(head(1, 1) + ARCHITECTURE + row("blk.0", (4,)), 16)),
        "; it calls its architecture 'llama'",
    ),
    "SDXL": (tensors(MODELS["sdxl bare"][0]), "is a SDXL base denoiser alone"),
    "a checkpoint": (
        tensors(MODELS["flux-dev whole"][0]), "of GGUF files only denoisers of FLUX and SD 3 are",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_file_and_take_less_than_a_tenth_of_a_second(
    tmp_path: Path, name: str
) -> None:
    write_it, words = REFUSED[name]
    file = tmp_path / NAME
    write_it(file)
    seconds = []  # the best of three: what else runs on the machine is not the reader's doing
    for _ in range(3):
        file.touch()  # no answer from before
        began = time.perf_counter()
        info = info_of(tmp_path)
        seconds.append(time.perf_counter() - began)
    assert words in info.problem and info.problem.startswith(str(file))
    assert min(seconds) < 0.1, seconds
    with pytest.raises(ModelUnavailable):
        locate(NAME, [tmp_path])


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1))
def test_a_file_that_is_cut_short_is_refused(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, share: float
) -> None:
    file = tmp_path_factory.mktemp("cut") / NAME
    file.write_bytes(good[: int(share * (len(good) - 32))])  # it may end in 31 empty bytes
    with pytest.raises(ModelUnavailable, match=r"cut short|is damaged") as error:
        recognise_file(file)
    assert str(error.value).startswith(str(file))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 4000), value=st.binary(min_size=1, max_size=8))
def test_any_bytes_in_the_header_are_answered(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, place: int, value: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / NAME
    file.write_bytes(good[:place] + value + good[place + len(value) :])
    began = time.process_time()
    info = info_of(file.parent)
    assert time.process_time() - began < 1
    assert info.problem is not None and str(file) in info.problem, "nothing here gives the rest"


def test_listing_needs_neither_torch_nor_the_package_which_running_does(
    tmp_path: Path, good: bytes
) -> None:
    tiny_families.flux().save_pretrained(tmp_path / "flux")
    (tmp_path / NAME).write_bytes(good)
    code = (
        "import sys, importlib.machinery as m\n"
        "from pathlib import Path\n"
        "from pipelines.checkpoints.catalog import find\n"
        f"(one,) = [i for i in find([Path({str(tmp_path)!r})]) if i.id == {NAME!r}]\n"
        "print(one.problem, {'torch', 'gguf'} & sys.modules.keys())\n"
        "search = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = lambda name, *a: None if name == 'gguf' else search(name, *a)\n"
        f"(one,) = [i for i in find([Path({str(tmp_path)!r})]) if i.id == {NAME!r}]\n"
        "print(one.problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with_it, without = done.stdout.splitlines()
    assert with_it == "None set()"
    assert without == (
        f"{tmp_path / NAME} needs the package gguf, which is not installed; "
        "pip install -r requirements-quantize.txt"
    )
