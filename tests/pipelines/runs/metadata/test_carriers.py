"""Where settings stand in a file: chunks, EXIF in all encodings, comments, pixels."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from pipelines.errors import InvalidRequest
from pipelines.request.request import Request
from pipelines.runs.metadata.carriers.exif import exif_texts
from pipelines.runs.metadata.carriers.texts import read_texts
from pipelines.runs.png_metadata import read_settings, write_png
from tests.helpers import foreign_pictures as made

TEXT = """größe, 苹果 🍎 castle
Negative prompt: blurry
Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: thing"""
PLAIN = TEXT.replace("größe, 苹果 🍎 ", "")


def check(path: Path, prompt: str = "größe, 苹果 🍎 castle") -> None:
    found = read_settings(path)
    assert found["prompts"] == [prompt] and found["negative_prompts"] == ["blurry"]
    assert found["samplers"] == [
        {"name": "Euler a", "steps": "20", "cfg_scale": "7.5", "seed": "42"}
    ]
    assert found["models"] == ["thing"] and found["size"] == "512x768"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "head, encoding",
    [
        ("unicode", "utf-16-le"),
        ("unicode", "utf-16-be"),
        ("unicode", "utf-16"),
        ("unicode", "utf-8"),
        ("ascii", "utf-8"),
        ("undefined", "utf-8"),
        ("jis", "utf-8"),
        ("none", "utf-8"),
        ("none", "utf-16-le"),
    ],
)
def test_user_comments_in_every_encoding(
    tmp_path: Path, suffix: str, order: str, head: str, encoding: str
) -> None:
    block = made.user_comment(TEXT, head, encoding, order)
    check(made.with_exif(tmp_path / f"a.{suffix}", block))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", [0x010E, 0x010F, 0x0110, 0x0131])
def test_texts_of_the_first_folder(tmp_path: Path, tag: int, order: str) -> None:
    block = made.exif({tag: TEXT.encode() + b"\0"}, order)
    check(made.with_exif(tmp_path / "a.jpg", block))


def test_windows_comments(tmp_path: Path) -> None:
    block = made.exif({0x9C9C: TEXT.encode("utf-16-le") + b"\0\0"}, ">")
    check(made.with_exif(tmp_path / "a.jpg", block))


def test_comments_of_jpegs(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=TEXT.encode())
    check(tmp_path / "a.jpg")


def test_xmp(tmp_path: Path) -> None:
    xmp = (
        "<x:xmpmeta><rdf:Description><exif:UserComment><rdf:Alt>"
        f'<rdf:li xml:lang="x-default">{PLAIN}</rdf:li></rdf:Alt></exif:UserComment>'
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", xmp=xmp.encode())
    check(tmp_path / "a.webp", "castle")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("packed", [False, True])
def test_text_chunks_hold_utf_8_as_well(tmp_path: Path, encoding: str, packed: bool) -> None:
    text = TEXT if encoding == "utf-8" else TEXT.replace("苹果 🍎 ", "")
    raw = text.encode(encoding)
    kind, data = (b"zTXt", b"\0" + zlib.compress(raw)) if packed else (b"tEXt", raw)
    path = made.png_of(tmp_path / "a.png", made.chunk(kind, b"parameters\0" + data))
    check(path, text.split("\n")[0])


def test_international_chunks(tmp_path: Path) -> None:
    for flag, data in ((b"\0\0", TEXT.encode()), (b"\1\0", zlib.compress(TEXT.encode()))):
        body = b"parameters\0" + flag + b"en\0parameters\0" + data
        check(made.png_of(tmp_path / "a.png", made.chunk(b"iTXt", body)))


def test_imagemagicks_profile(tmp_path: Path) -> None:
    block = b"Exif\0\0" + made.user_comment(TEXT, "unicode", "utf-16-be", ">")
    profile = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    body = b"Raw profile type exif\0\0" + zlib.compress(profile)
    check(made.png_of(tmp_path / "a.png", made.chunk(b"zTXt", body)))


def test_wrong_checksums_do_not_matter(tmp_path: Path) -> None:
    body = b"parameters\0" + TEXT.encode()
    check(made.png_of(tmp_path / "a.png", made.chunk(b"tEXt", body, crc=7)))


def test_texts_behind_the_pixels(tmp_path: Path) -> None:
    path = made.png_of(tmp_path / "a.png")
    end = made.chunk(b"IEND", b"")
    text = made.chunk(b"tEXt", b"parameters\0" + TEXT.encode())
    path.write_bytes(path.read_bytes().removesuffix(end) + text + end)
    check(path)


def test_large_chunks_beside_ours_do_not_matter(tmp_path: Path) -> None:
    request = Request(prompt="größe", seed=3)
    write_png(tmp_path / "a.png", Image.new("RGB", (8, 8)), request)
    data = (tmp_path / "a.png").read_bytes()
    large = made.chunk(b"zTXt", b"big\0\0" + zlib.compress(bytes(64 * 2**20)))
    wrong = made.chunk(b"tEXt", b"odd\0text", crc=1)
    (tmp_path / "a.png").write_bytes(data[:33] + large * 30 + wrong + data[33:])
    assert read_settings(tmp_path / "a.png") == request.model_dump()


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    path = made.png(tmp_path / "a.png", {"parameters": TEXT}, itxt=True)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            check(path)
        except InvalidRequest as error:
            assert "cannot be read as a picture" in str(error)


@pytest.mark.parametrize("mark", [b"stealth_pnginfo", b"stealth_pngcomp"])
def test_texts_in_the_pixels(tmp_path: Path, mark: bytes) -> None:
    text = TEXT.encode()
    packed = gzip.compress(text) if mark.endswith(b"comp") else text
    check(made.with_hidden_text(tmp_path / "a.png", packed, mark))


def test_two_pictures_in_one_process(tmp_path: Path) -> None:
    """The library for these files kept the last comment by the address of a picture."""
    own = json.dumps({"steps": 28, "sampler": "k_euler", "seed": 7, "scale": 5.0, "uc": "bad"})
    hidden = json.dumps({"Description": "a fox", "Source": "NovelAI 1234ABCD", "Comment": own})
    packed = gzip.compress(hidden.encode())
    for number in range(40):
        foreign = made.with_hidden_text(tmp_path / f"{number}a.png", packed, b"stealth_pngcomp")
        plain = tmp_path / f"{number}b.png"
        Image.new("RGBA", (64, 64)).save(plain)
        assert read_settings(foreign)["samplers"][0]["seed"] == "7"
        with pytest.raises(InvalidRequest, match="carries no settings"):
            read_settings(plain)
        check(made.png(plain, {"parameters": TEXT}, itxt=True))


def test_folders_of_exif_that_lead_nowhere() -> None:
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1)
    assert exif_texts(head + struct.pack("<HHII", 0x8769, 4, 1, 8)) == []
    assert exif_texts(head + struct.pack("<HHII", 0x9286, 7, 2**32 - 1, 8)) == []
    assert exif_texts(b"II*\0\xff\xff\xff\xff") == [] and exif_texts(b"") == []


def test_texts_of_a_picture_by_keyword(tmp_path: Path) -> None:
    block = made.exif({0x0110: b'prompt:{"1": {}}\0', 0x010F: b'Workflow: {"nodes": []}\0'})
    texts = read_texts(made.with_exif(tmp_path / "a.webp", block))
    assert texts == {"prompt": '{"1": {}}', "workflow": '{"nodes": []}'}
