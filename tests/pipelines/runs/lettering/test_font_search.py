"""Fonts: what a file has, and which one is found on machines with and without fontconfig."""

from __future__ import annotations

import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import ImageFont

from pipelines.runs.lettering.font_file import coverage
from pipelines.runs.lettering.font_search import BASE, SHIPPED, FontFile, fonts_with, shipped_fonts

SAMPLES = {
    "NotoSans-Regular.ttf": "aéñŁẾЖщΩπ’…·×",
    "NotoSansArabic-Regular.ttf": "ابتکی٣",
    "NotoSansDevanagari-Regular.ttf": "अक्षि",
    "NotoSansHebrew-Regular.ttf": "אבת",
    "NotoSansThai-Regular.ttf": "กขไ่",
}


@pytest.mark.parametrize("font", shipped_fonts(), ids=lambda font: font.path.stem)
def test_what_a_font_has_is_what_freetype_draws(font: FontFile) -> None:
    has = coverage(font.path, font.index)
    assert all(one in has for one in SAMPLES[font.path.name]) and not has.colour
    # Raqm would compose what the font lacks of what it has.
    opened = ImageFont.truetype(str(font.path), 20, layout_engine=ImageFont.Layout.BASIC)
    missing = bytes(opened.getmask("\uffff"))
    for code in range(0x21, 0x3000):
        if unicodedata.category(chr(code)) in ("Lo", "Lu", "Ll", "Nd", "Po"):
            drawn = bytes(opened.getmask(chr(code))) != missing
            assert (chr(code) in has) == drawn, f"U+{code:04X}"


def test_their_licence_lies_beside_them() -> None:
    assert "SIL OPEN FONT LICENSE Version 1.1" in (SHIPPED / "OFL.txt").read_text()
    assert {path.name for path in SHIPPED.glob("*.ttf")} == set(SAMPLES)


@pytest.mark.parametrize("content", [b"", b"ttcf", b"\0\1\0\0\xff\xff" + b"x" * 40, b"x" * 9000])
def test_a_damaged_font_has_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.ttf"
    file.write_bytes(content)
    assert "a" not in coverage(file, 0) and "a" not in coverage(tmp_path / "gone.ttf", 3)


LIST = """
from pipelines.runs.lettering.font_search import installed_fonts
for font in installed_fonts():
    print(font.path)
"""


@pytest.mark.parametrize("fontconfig", [True, False])
def test_an_installed_font_is_found(tmp_path: Path, fontconfig: bool) -> None:
    """In the folder where this user's fonts are, wherever that is."""
    fonts = tmp_path / "share" / "fonts" / "deep"
    fonts.mkdir(parents=True)
    shutil.copy(SHIPPED / "NotoSansThai-Regular.ttf", fonts / "Own-Regular.ttf")
    (fonts / "broken.ttf").write_bytes(b"none")
    tools = Path(shutil.which("fc-list") or tmp_path / "none").parent
    done = subprocess.run(
        [sys.executable, "-c", LIST], text=True, capture_output=True, check=True,
        env={
            "PATH": str(tools if fontconfig else tmp_path), "HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path / "share"),
        },
    )  # fmt: skip
    assert str(fonts / "Own-Regular.ttf") in done.stdout.splitlines()


def test_shipped_fonts_come_first() -> None:
    assert next(iter(fonts_with("a", False, ""))) == BASE
    assert next(iter(fonts_with("ก", False, ""))).path.name == "NotoSansThai-Regular.ttf"
    assert next(iter(fonts_with("\U0010fffd", False, "")), None) is None
