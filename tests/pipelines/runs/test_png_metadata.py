"""What a picture says of itself, to us and to other tools."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sd_parsers import ParserManager

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.request.request import Request
from pipelines.runs.png_metadata import (
    COMMON,
    OURS,
    PIXELS_MAX,
    png_info,
    read_settings,
    settings_text,
)
from pipelines.samplers import SAMPLERS

FOREIGN = """a castle, (blue:1.2) sky
Negative prompt: blurry, lowres
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, \
Size: 512x512, Model hash: abc123, Model: some_model, Version: v1.9.0"""

# How the web UI that introduced the grammar splits its last line, and unquotes what it finds.
PAIRS = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')

PROMPTS = [
    "a red apple",
    "one, two, three: (four:1.2)",
    "first line\nsecond line\n\nfourth",
    "she said \"yes\", then 'no' \\ done",
    "größe 苹果 🍎 яблоко",
    "Steps: 3, Sampler: none",
    "Steps: 3, Sampler: Fake, CFG scale: 1, Seed: 9",
]


def facts(request):
    pairs = PAIRS.findall(settings_text(request).split("\n")[-1])
    return {key: json.loads(value) if value[:1] == '"' else value for key, value in pairs}


def save(path: Path, request: Request | None = None, **texts: str) -> Path:
    info = PngInfo() if request is None else png_info(request)
    for key, value in texts.items():
        info.add_text(key, value)
    Image.new("RGB", (8, 8), "red").save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("negative", ["", "blurry, low: quality", 'two\n"lines"'])
def test_other_tools_read_ours(tmp_path, prompt, negative):
    request = Request(
        model="m", prompt=prompt, negative_prompt=negative, sampler="dpmpp_2m", schedule="karras",
        steps=31, guidance_scale=6.5, seed=77, width=64, height=96,
    )  # fmt: skip
    found = ParserManager().parse(save(tmp_path / "a.png", request))
    assert [p.value for p in found.prompts] == [prompt]
    assert [p.value for p in found.negative_prompts] == ([negative] if negative else [])
    assert [m.name for m in found.models] == ["m"]
    (sampler,) = found.samplers
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters == {
        "steps": "31", "cfg_scale": "6.5", "seed": "77", "scheduler": "Karras",
    }  # fmt: skip


@given(
    st.text(st.characters(codec="utf-8"), max_size=80),
    st.sampled_from(list(SAMPLERS)),
    st.integers(1, 1000),
    st.floats(0.0, 100.0),
)
@settings(deadline=None)
def test_the_facts_survive_any_prompt(prompt, sampler, steps, scale):
    assume("Negative prompt:" not in prompt)
    request = Request(prompt=prompt, sampler=sampler, steps=steps, guidance_scale=scale, seed=5)
    text = settings_text(request)
    assert text.startswith(prompt + "\n")
    read = facts(request)
    assert read["Sampler"] == SAMPLERS[sampler].label
    assert int(read["Steps"]) == steps
    assert float(read["CFG scale"]) == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("model", ["plain", "a, b: c", 'quoted "x" \\ y', "two\nlines", "模型"])
def test_model_names_are_quoted_where_the_grammar_needs_it(model):
    read = facts(Request(model=model))
    assert read["Model"] == model
    assert read["Version"] == "Contact Sheet"


def test_only_what_was_set_is_written():
    plain = facts(Request())
    assert not {"CFG rescale", "Guidance start", "Guidance stop", "Size"} & set(plain)
    full = facts(
        Request(guidance_rescale=0.7, guidance_start=0.1, guidance_stop=0.9, width=64, height=96)
    )
    assert full["CFG rescale"] == "0.7" and full["Size"] == "64x96"
    assert full["Guidance start"] == "0.1" and full["Guidance stop"] == "0.9"


def test_read_ours(tmp_path):
    request = Request(prompt='größe, "q"\n🍎', negative_prompt="x", seed=9, width=8, height=8)
    assert read_settings(save(tmp_path / "ours.png", request)) == request.model_dump()


def test_read_another_tools(tmp_path):
    found = read_settings(save(tmp_path / "theirs.png", parameters=FOREIGN))
    assert found["prompts"] == ["a castle, (blue:1.2) sky"]
    assert found["negative_prompts"] == ["blurry, lowres"]
    assert found["models"] == ["some_model"]
    assert found["samplers"] == [
        {"name": "DPM++ 2M", "steps": "20", "cfg_scale": "7", "seed": "42", "scheduler": "Karras"}
    ]
    assert found["generator"] == "AUTOMATIC1111"
    json.dumps(found)


def giant(path: Path, width: int, height: int) -> Path:
    """A PNG that only claims to be so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def refuse(path, message):
    with pytest.raises(InvalidRequest, match=message) as error:
        read_settings(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_pictures_without_settings(tmp_path):
    refuse(save(tmp_path / "plain.png"), "carries no settings of an image generator")
    refuse(save(tmp_path / "prose.png", parameters="just words"), "carries no settings")
    twice = FOREIGN.replace("\nSteps", "\nNegative prompt: again\nSteps")
    refuse(save(tmp_path / "twice.png", parameters=twice), "carries no settings")


def test_files_that_are_no_pictures(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("hello")
    refuse(text, "cannot be read as a picture")
    refuse(tmp_path, "cannot be read as a picture")
    refuse(tmp_path / "missing.png", "does not exist")
    cut = save(tmp_path / "cut.png", Request())
    cut.write_bytes(cut.read_bytes()[:60])
    refuse(cut, "cannot be read as a picture")


def test_pictures_that_are_too_large_are_not_decoded(tmp_path):
    assert PIXELS_MAX < 8192 * 8193
    refuse(giant(tmp_path / "large.png", 8192, 8193), f"8192 × 8193 pixels; at most {PIXELS_MAX}")
    refuse(giant(tmp_path / "bomb.png", 60_000, 60_000), "too many pixels")


def test_settings_of_another_version_are_named_not_dropped(tmp_path):
    future = json.dumps({**Request().model_dump(), "sparkle": 3})
    path = save(tmp_path / "future.png", **{OURS: future, COMMON: FOREIGN})
    with pytest.raises(UnknownName, match="unknown setting 'sparkle'"):
        read_settings(path)
