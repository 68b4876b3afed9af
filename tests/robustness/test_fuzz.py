"""Fuzzing: 2,000 odd inputs for each reader end in our own errors, soon and in little memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.checkpoints.formats import gguf_header, safetensors_header
from pipelines.preprocessors.skeletons import from_json
from pipelines.request.axis_grammar import parse_axis, parse_values, prompt_variants
from pipelines.request.control import Control
from pipelines.request.lora import LoRA
from pipelines.request.prompts.prompt_schedule import scheduled
from pipelines.request.prompts.prompt_templates import expand
from pipelines.request.prompts.prompt_weights import parse_weights
from pipelines.request.replace_axes import Replacement, replaced
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.png_metadata import png_info, read_settings
from pipelines.utils.text_files import read_lines
from pipelines.utils.value_list import split
from pipelines.utils.wildcard_files import wildcards
from tests.helpers.fuzz import binaries, objects, only_our_errors, texts
from tests.helpers.gguf_files import write_header
from ui.cli.control_option import parse_control

AXES = [
    "guidance_scale=1,3,5",
    "steps=1-10 (+3)",
    "seed=100-107",
    'prompt=a red apple, "an apple, cut"',
    "steps=10,20 & guidance_scale=3,5",
    "prompt_variants=a {red|green} apple [2 @7]",
    "loras=none, a:0.5",
    "skip_layers=none, 7+8+9",
    "evaluations=10, 20",
    "prompt_replace=apple, pear",
    "steps=1-10 [4]",
]
TEMPLATES = [
    "a {red|green} apple",
    "{2$$ and $$red|green|blue}",
    "{a|{b|c} d} [3]",
    "${x={a|b}} ${x} ${x}",
    "{~a|b} {c|d}",
    "%{(...)$$a}",
    "{2::a|1::b}",
    "\\{ a \\| b \\}",
    "__fruit__ {@a|b}",
    "{1-2$$a|b}",
]
PROMPTS = [
    "(red:1.2) apple",
    "((a)) [b] c BREAK d",
    "\\(a\\) (b:0.5",
    "a (b:1.1) (c:1.2) [d] e : f",
]
SCHEDULES = [
    "[red:blue:0.5] apple", "[a|b|c]", "a [b::3] AND c :0.5", "[[a:b:2]|c] \\[d\\]",
    "[a:[b:c:9]:5]",
]  # fmt: skip
CONTROLS = [
    "edges.png:canny", "a b.jpg:pose:strength=0.8,start=0.1", "c:\\x.png:canny:low=10,model=net",
    "d.png::mode=prompt,treat_as=map",
]  # fmt: skip
PEOPLE = [{"joints": [[i / 20, 0.5] if i % 5 else None for i in range(18)]}]
CONTROL = {
    "image": "0" * 32, "preprocessor": "canny", "parameters": {"low": 100, "high": 200.0},
    "model": "net", "strength": 0.5, "start": 0.1, "stop": 0.9, "mode": "prompt",
}  # fmt: skip
REQUEST = {
    **json.loads(Request(model="emoji", prompt="a (red:1.2) apple", seed=7).to_json()),
    "loras": [{"name": "a", "scale": 0.5}], "controls": [CONTROL], "skip_layers": [7, 8],
    "width": 512, "height": 512,
}  # fmt: skip
SHEET = {
    "base": REQUEST,
    "axes": [
        {"field": "seed", "values": [1, 2], "zipped": [{"field": "steps", "values": [5, 6]}]},
        {"field": "guidance_scale", "values": [1.5, 3.0]},
    ],
}
A1111 = (
    "a red apple <lora:x:0.8>\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M Karras, "
    "CFG scale: 7, Seed: 5, Size: 512x512, Model hash: abc, Model: m, Denoising strength: 0.4, "
    'Hires upscale: 2, ControlNet 0: "Module: canny, Weight: 1", Version: 1.9'
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 5, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "karras",
        "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "an apple", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
    "8": {"class_type": "PrimitiveString", "inputs": {"value": "blurry"}},
    "9": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "10": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}},
}  # fmt: skip


def as_json(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "1" * 5000


def json_texts(good: Any, seed: int) -> Iterator[str]:
    """Half of them JSON of odd values, half of them odd texts."""
    yield from map(as_json, objects([good], seed, 1000))
    yield from texts([json.dumps(good)], seed, 1000)


def picture(kind: str, text: str) -> bytes:
    """A small picture with a text where tools put it."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    exif[0x010E] = text
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    if kind == "PNG":
        image.save(buffer, kind, pnginfo=png_info(Request(prompt="a")), exif=exif)
    else:
        image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def reads_settings(folder: Path) -> Callable[[bytes], object]:
    file = folder / "a.png"

    def read(content: bytes) -> object:
        file.write_bytes(content)
        return json.dumps(read_settings(file))

    return read


def reads_text(folder: Path) -> Callable[[str], object]:
    """Read a picture that has the text as its `parameters`, and as ComfyUI's `prompt`."""
    read, plain = reads_settings(folder), Image.new("RGB", (8, 8))

    def read_text(text: str) -> object:
        from PIL.PngImagePlugin import PngInfo

        info, buffer = PngInfo(), io.BytesIO()
        safe = text.encode("utf-8", "replace").decode()
        info.add_itxt("prompt" if safe.startswith(("{", "[")) else "parameters", safe)
        plain.save(buffer, "PNG", pnginfo=info)
        return read(buffer.getvalue())

    return read_text


@pytest.mark.parametrize(
    ("parse", "good", "seed"),
    [
        (parse_axis, AXES, 1),
        (lambda text: parse_values("guidance_scale", text), ["1,3", "1-10 (+2)", "1-9 [5]"], 2),
        (lambda text: parse_values("prompt", text), ['a, "b, c"', '"a ""b"""'], 3),
        (parse_weights, PROMPTS, 4),
        (LoRA.model_validate, ["name", "name:0.5", "a/b.safetensors:-1"], 5),
        (Request.from_json, [json.dumps(REQUEST)], 6),
        (Sheet.model_validate_json, [json.dumps(SHEET)], 7),
        (parse_control, CONTROLS, 16),
        (lambda text: scheduled(text, 20), SCHEDULES, 17),
        (from_json, [json.dumps(PEOPLE)], 18),
        (lambda text: list(split(text)), ['a, "b, c"', "'a, b', «c»", "the artist's, 5\" x"], 19),
        (lambda text: replaced("prompt", text, {"x": Replacement("a", "b")}), ["a red (a)"], 20),
    ],
    ids=[
        "axis", "numbers", "texts", "weights", "lora", "request text", "sheet text", "control",
        "schedule", "people", "list", "replacement",
    ],
)  # fmt: skip
def test_texts(parse: Callable[[str], object], good: list[str], seed: int) -> None:
    assert only_our_errors(parse, texts(good, seed)) > 5


@pytest.mark.parametrize("parse", [expand, prompt_variants], ids=["expand", "variants"])
def test_templates(parse: Callable[[str], object]) -> None:
    assert only_our_errors(parse, texts(TEMPLATES, 8)) > 20


@pytest.mark.parametrize(
    ("parse", "good"),
    [
        (lambda value: Request.from_json(as_json(value)), REQUEST),
        (lambda value: Sheet.model_validate(value).shape, SHEET),
        (Request.model_validate, REQUEST),
        (Control.model_validate, CONTROL),
        (LoRA.model_validate, {"name": "a", "scale": 0.5}),
    ],
    ids=["request", "sheet", "request value", "control", "lora"],
)
def test_values(parse: Callable[[Any], object], good: Any) -> None:
    assert only_our_errors(parse, objects([good], 9)) > 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_pictures(kind: str, tmp_path: Path) -> None:
    good = [picture(kind, A1111), picture(kind, json.dumps(GRAPH))]
    assert only_our_errors(reads_settings(tmp_path), binaries(good, 10)) > 5


def test_settings_of_other_tools(tmp_path: Path) -> None:
    assert only_our_errors(reads_text(tmp_path), texts([A1111], 11)) > 100


def test_graphs(tmp_path: Path) -> None:
    assert only_our_errors(reads_text(tmp_path), json_texts(GRAPH, 12)) > 100


def reads_file(read: Callable[[Path], object], file: Path) -> Callable[[bytes], object]:
    def parse(content: bytes) -> object:
        file.write_bytes(content)
        return read(file)

    return parse


def header_of(parse: Callable[[Path, int], object]) -> Callable[[Path], object]:
    return lambda file: parse(file, file.stat().st_size)


def test_safetensors_headers(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"a": "b"},
        "x": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
    }

    def content(text: str) -> bytes:
        raw = text.encode("utf-8", "replace")
        return len(raw).to_bytes(8, "little") + raw + b"\0" * 8

    parse = reads_file(header_of(safetensors_header.parse), tmp_path / "a.safetensors")
    cases = [content(text) for text in json_texts(header, 13)]
    assert only_our_errors(parse, iter(cases)) > 5
    assert only_our_errors(parse, binaries([content(json.dumps(header))], 14)) > 0


def test_text_files(tmp_path: Path) -> None:
    good = [text.encode(code) for code in ("utf-8", "utf-16", "cp1252") for text in ("é\nb", "#a")]
    assert only_our_errors(reads_file(read_lines, tmp_path / "a.txt"), binaries(good, 21)) > 100


def test_wildcard_files(tmp_path: Path) -> None:
    """A reader that opens a whole folder: the file beside the odd one is read as well."""
    (tmp_path / "good.txt").write_text("a\nb\n")

    def read(content: bytes) -> object:
        (tmp_path / "odd.txt").write_bytes(content)
        return wildcards([tmp_path])["good"]

    assert only_our_errors(read, binaries([b"a\n# b\n__good__ {c|d}\n"], 22)) > 100


def test_gguf_headers(tmp_path: Path) -> None:
    file = write_header(
        tmp_path / "good.gguf", {"a": (32, 64), "b.weight": (64,)}, lambda name, tensor: "F16"
    )
    parse = reads_file(header_of(gguf_header.parse), tmp_path / "a.gguf")
    assert only_our_errors(parse, binaries([file.read_bytes()], 15)) > 5
