"""Settings of strangers: whatever a picture holds, reading it ends soon, in our own words."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.errors import ContactSheetError
from pipelines.request.request import Request
from pipelines.runs.png_metadata import read_settings, write_png
from pipelines.samplers import SAMPLERS
from tests.helpers import foreign_pictures as made

KEYS = [
    "parameters", "prompt", "workflow", "Comment", "Description", "invokeai_metadata",
    "sd-metadata", "Dream", "contact_sheet", "x",
]  # fmt: skip
SECONDS = 2.0


def attempt(path: Path) -> dict[str, Any] | None:
    """Read a picture; only our own errors are allowed, and what is found must be printable."""
    begun = time.perf_counter()
    try:
        found = read_settings(path)
    except ContactSheetError as error:
        str(error).encode()
        found = None
    else:
        json.dumps(found, ensure_ascii=False).encode()
    assert time.perf_counter() - begun < SECONDS
    return found


def holds(folder: Path, *texts: str, keys: list[str] | None = None) -> Path:
    path = folder / "a.png"
    rows = zip(keys or KEYS, texts * len(KEYS), strict=False)
    chunks = [
        made.chunk(b"tEXt", key.encode() + b"\0" + text.encode("utf-8", "surrogatepass"))
        for key, text in rows
    ]
    return made.png_of(path, *chunks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@given(
    st.text(st.characters(codec="utf-8"), max_size=80),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(list(SAMPLERS)),
    st.integers(1, 1000),
    st.floats(0.0, 100.0),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_our_own_come_back(
    folder: Path, prompt: str, negative: str, sampler: str, steps: int, scale: float, seed: int
) -> None:
    request = Request(
        prompt=prompt, negative_prompt=negative, sampler=sampler, steps=steps,
        guidance_scale=scale, seed=seed,
    )  # fmt: skip
    path = write_png(folder / "ours.png", Image.new("RGB", (8, 8)), request)
    assert read_settings(path) == request.model_dump()


@given(st.lists(st.tuples(st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"IHDR", b"abCd"]),
                          st.binary(max_size=200)), max_size=6))  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_random_bytes_in_chunks(folder: Path, chunks: list[tuple[bytes, bytes]]) -> None:
    made_of = [made.chunk(kind, data) for kind, data in chunks]
    packed = [
        made.chunk(kind, b"parameters\0\0" + zlib.compress(data))
        for kind, data in chunks
        if kind == b"zTXt"
    ]
    attempt(made.png_of(folder / "bytes.png", *made_of, *packed))


@given(st.binary(max_size=300), st.sampled_from(["jpg", "webp", "png", "avif"]))
@settings(deadline=None, max_examples=300)
def test_random_bytes_as_exif(folder: Path, data: bytes, suffix: str) -> None:
    for block in (data, b"II*\0" + data, b"MM\0*\0\0\0\x08" + data, made.exif({0x010E: data})):
        blank = io.BytesIO()
        Image.new("RGB", (8, 8)).save(blank, "JPEG")
        head = blank.getvalue()
        segment = b"\xff\xe1" + (len(block) + 8).to_bytes(2, "big") + b"Exif\0\0" + block
        path = folder / f"exif.{suffix}"
        path.write_bytes(head[:2] + segment + head[2:])
        attempt(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "gif", "tiff", "bmp"])
def test_damaged_files(folder: Path, suffix: str) -> None:
    path = folder / f"damaged.{suffix}"
    comment = made.user_comment("Steps: 3, Seed: 4, Size: 8x8", "ascii", "utf-8", "<")
    extra: dict[str, Any] = {"exif": comment}
    Image.new("RGB", (16, 16)).save(
        path, **(extra if suffix in ("png", "jpg", "webp", "avif") else {})
    )
    whole = path.read_bytes()
    dice = random.Random(5)
    for _ in range(300):
        data = bytearray(whole[: dice.choice([len(whole), dice.randrange(len(whole))])])
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        attempt(path)


VALUES: list[Any] = [
    None, True, -1, 1e400, float("nan"), "", "x", "\0", "\ud800", [], {}, ["1", 0], ["1", "0"],
    [["1"], 0], [None, 0], {"content": 3}, {"__value__": ["1", 0]}, {"lora": 3, "on": "x"},
    "9" * 5000, ["9" * 5000, 0], [0, 2**70], "urn:air:", [[]] * 9,
]  # fmt: skip
WORDS = [
    "Steps: ", "Seed: ", "Size: ", "Model: ", "Sampler: ", '"', "\\", ",", "\n", "{", "[", "]",
    "}", ": ", "9", "Negative prompt:", "ControlNet 0: ", "Lora hashes: ", "<lora:", ">", "<",
    "Civitai resources: ", "\0", "\ud800", "é", "x" * 50, "(", ")", "-S 3", "'", "=",
]  # fmt: skip
KINDS = [
    "KSampler", "CLIPTextEncode", "Reroute", "ImpactSwitch", "Text Concatenate", "SaveImage",
    "SamplerCustomAdvanced", "ConditioningCombine", "LoraLoader", "BasicGuider", "", "x",
]  # fmt: skip
INPUTS = [
    "seed", "steps", "cfg", "model", "positive", "negative", "text", "text_a", "guider", "noise",
    "sigmas", "sampler", "latent_image", "ckpt_name", "lora_name", "select", "input1", "", "value",
    "width", "height", "control_net", "lora_1", "images", "conditioning", "pipe", "lora_count",
]  # fmt: skip


def odd_graph(dice: random.Random) -> str:
    """A graph with cycles and wrong types everywhere."""

    def value() -> Any:
        return dice.choice([dice.choice(VALUES), [str(dice.randrange(9)), dice.randrange(3)]])

    rows = {
        str(number): dice.choice(
            [
                {"class_type": dice.choice(KINDS),
                 "inputs": {dice.choice(INPUTS): value() for _ in range(dice.randrange(8))}},
                {"id": number, "type": dice.choice(KINDS), "mode": dice.choice([0, 2, 4, "x"]),
                 "inputs": [{"name": dice.choice(INPUTS), "link": dice.choice([1, None, "x"])}],
                 "widgets_values": value()},
                dice.choice(VALUES),
            ]
        )
        for number in range(9)
    }  # fmt: skip
    links = [[1, dice.choice([1, "2", None, []]), 0, 2, 0, "X"], value(), {"id": value()}]
    whole = dice.choice([rows, {"nodes": list(rows.values()), "links": links}, {"prompt": rows}])
    return json.dumps(whole)


def odd_settings(dice: random.Random) -> str:
    """Settings of a tool with wrong types everywhere."""
    keys = [
        "prompt", "uc", "seed", "steps", "sampler", "scheduler", "model", "loras", "vae", "image",
        "sui_image_params", "extraMetadata", "resources", "Comment", "v4_prompt", "controlnets",
        "metadata_scheme", "software", "loraweights", "nodes", "resolution", "width", "height",
        "clipstopatlayer", "positive_prompt", "caption", "c", "base_model", "controlnetmodel",
    ]  # fmt: skip

    def object_of(depth: int) -> Any:
        return {
            dice.choice(keys): object_of(depth - 1) if depth and dice.random() < 0.4
            else dice.choice([*VALUES, "RuinedFooocus", [{"weight": 1}], 5, "5"])
            for _ in range(dice.randrange(9))
        }  # fmt: skip

    return json.dumps(object_of(3))


def odd_text(dice: random.Random) -> str:
    return "".join(dice.choice(WORDS) for _ in range(dice.randrange(60)))


@pytest.mark.parametrize("make", [odd_graph, odd_settings, odd_text])
def test_two_thousand_texts(folder: Path, make: Callable[[random.Random], str]) -> None:
    dice = random.Random(11)
    for _ in range(2000):
        attempt(holds(folder, make(dice), make(dice)))


def chained(kind: str, many: int, *names: str) -> str:
    """Nodes that all lead to the next, by each of these inputs."""
    graph: dict[str, Any] = {
        str(number): {
            "class_type": kind, "inputs": {name: [str(number + 1), 0] for name in names},
        }
        for number in range(many)
    }  # fmt: skip
    graph[str(many)] = {"class_type": kind, "inputs": {"text": "a fox " * 100}}
    sampler = {"seed": 1, "steps": 2, "cfg": 3, "positive": ["0", 0], "model": ["0", 0]}
    return json.dumps({**graph, "s": {"class_type": "KSampler", "inputs": sampler}})


HUGE: dict[str, Callable[[], str]] = {
    "nested lists": lambda: "[" * 200_000 + "]" * 200_000,
    "nested objects": lambda: '{"prompt":' * 100_000 + "1" + "}" * 100_000,
    "many lists": lambda: '{"prompt":[' + "[],[]," * 1_000_000 + "1]}",
    "many numbers": lambda: '{"prompt":[' + "1," * 3_000_000 + "1]}",
    "many keys": lambda: "{" + ",".join(f'"{n}":{{"inputs":{{}}}}' for n in range(90_000)) + "}",
    "digits": lambda: '{"prompt":"x","steps":' + "9" * 5000 + ',"seed":' + "9" * 5000 + "}",
    "digits in text": lambda: f"x\nSteps: {'9' * 5000}, Seed: {'9' * 5000}, CFG scale: 1",
    "a chain": lambda: chained("Reroute", 15_000, "model"),
    "doubling texts": lambda: chained("Text Concatenate", 500, "text_a", "text_b"),
    "doubling conditionings": lambda: chained("ConditioningCombine", 500, "a", "b", "c"),
    "many samplers": lambda: json.dumps(
        {str(n): {"class_type": "KSampler", "inputs": {
            "seed": n, "steps": 1, "cfg": 1, "model": [str(n + 1), 0], "positive": [str(n + 1), 0],
        }} for n in range(15_000)}
    ),
    "nested subgraphs": lambda: json.dumps(
        {"nodes": [{"id": 1, "type": "0"}], "definitions": {"subgraphs": [
            {"id": str(level), "nodes": [{"id": n, "type": str(level + 1)} for n in range(90)]}
            for level in range(9)
        ]}}
    ),
    "facts": lambda: "x\n" + "Steps: 1, Seed: 2, a: {[\n" * 20_000,
    "quotes": lambda: "x\nSteps: 1, Seed: 2, Size: 3" + ', a: "\\"' * 60_000,
    "open quotes": lambda: "x\nSteps: 1, Seed: 2, Size: 3" + ", a: \"b'" * 60_000,
    "objects": lambda: ("Steps: 1, Seed: 2, a: [" + "[1]," * 100_000 + "\n") * 1,
    "colons": lambda: ":" * 500_000,
    "blanks": lambda: "Steps" + " " * 500_000 + ": 1",
    "LoRA tags": lambda: "<lora:" * 80_000 + "\nSteps: 1, Seed: 2, Size: 3x3",
    "brackets": lambda: '"' + "[" * 100_000 + '" -s 1 -S 2',
    "dream options": lambda: '"x"' + " -s 1" * 50_000 + " ",
    "words": lambda: "word " * 1_500_000,
    "URNs": lambda: "urn:air:" * 100_000 + "civitai",
    "XMP": lambda: "<exif:UserComment" * 60_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_texts_that_are_made_to_take_long(folder: Path, name: str) -> None:
    attempt(holds(folder, HUGE[name](), keys=["parameters"]))
    attempt(holds(folder, HUGE[name](), keys=["prompt"]))
    attempt(holds(folder, HUGE[name]()[:500_000], keys=["Dream", "Comment", "workflow"]))
    path = folder / "a.webp"
    Image.new("RGB", (8, 8)).save(path, xmp=HUGE[name]()[:1_000_000].encode())
    attempt(path)


MEASURE = """
import resource, sys
from pathlib import Path
from pipelines.errors import ContactSheetError
from pipelines.runs.png_metadata import read_settings
import PIL.Image, PIL.PngImagePlugin, numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        read_settings(path)
    except ContactSheetError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_has_a_limit(tmp_path: Path) -> None:
    paths = []
    for name, make in HUGE.items():
        path = holds(tmp_path, make(), keys=["prompt"])
        paths.append(path.rename(tmp_path / f"{name}.png"))
    packed = made.chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(512 * 2**20)))
    paths.append(made.png_of(tmp_path / "packed.png", *[packed] * 9))
    Image.new("RGBA", (4096, 4096)).save(tmp_path / "pixels.png", compress_level=1)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, [*paths, tmp_path / "pixels.png"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(told.stdout) < 200
