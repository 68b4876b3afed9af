"""Font search: the font that ships, and those that are installed on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipelines.runs.lettering.font_file import coverage

SHIPPED = Path(__file__).parent / "noto_sans"
"""Noto Sans: Latin, Greek and Cyrillic; Arabic, Devanagari, Hebrew, Thai. With its licence."""
_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
_REGULAR = 80
"""Fontconfig's number for the regular weight."""
_SECONDS = 20
_ODD = (
    "mono", "serif", "condensed", "narrow", "bold", "italic", "oblique", "light", "black",
    "display", "math",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FontFile:
    """Font in a file, and what is known of it without reading it.

    Attributes:
        index: in a collection.
        plain: how plain it is: the smaller, the sooner it is taken.
    """

    path: Path
    index: int = 0
    name: str = ""
    plain: tuple[int, ...] = ()


BASE = FontFile(SHIPPED / "NotoSans-Regular.ttf", name="Noto Sans")


def fonts_with(characters: str, colour: bool, region: str) -> Iterator[FontFile]:
    """Yield fonts, the shipped ones first, that have all of these characters, the plainest first.

    Args:
        colour: yield fonts with pictures in colour only; else only those without.
        region: JP, KR, SC or TC, whose shapes of Chinese characters come first; "" for any.
    """
    for font in (*shipped_fonts(), *_regional(region)):
        has = coverage(font.path, font.index)
        if has.colour == colour and all(character in has for character in characters):
            yield font


@cache
def shipped_fonts() -> tuple[FontFile, ...]:
    """List the fonts that ship, the one for most texts first."""
    others = sorted(path for path in SHIPPED.glob("*.ttf") if path != BASE.path)
    return (BASE, *(FontFile(path, name=path.stem) for path in others))


@cache
def _regional(region: str) -> tuple[FontFile, ...]:
    return tuple(sorted(installed_fonts(), key=lambda font: region not in font.name.split()))


@cache
def installed_fonts() -> tuple[FontFile, ...]:
    """List the fonts of this machine, the plainest first; looked up once a process."""
    found = _by_fontconfig()
    if not found:
        found = [_described(path, 0, path.stem, _REGULAR, 0) for path in _in_folders()]
    return tuple(sorted(found, key=lambda font: (font.plain, str(font.path), font.index)))


def _by_fontconfig() -> list[FontFile]:
    """What fontconfig lists, where it is installed."""
    program = shutil.which("fc-list")
    if program is None:
        return []
    form = "%{file}\t%{index}\t%{family[0]}\t%{weight}\t%{slant}\t%{variable}\n"
    try:
        told = subprocess.run(
            [program, "--format", form], capture_output=True, timeout=_SECONDS, check=True
        ).stdout.decode(errors="surrogateescape")
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in told.splitlines():
        file, index, family, weight, slant, variable = [*line.split("\t"), *[""] * 6][:6]
        if not file.lower().endswith(_ENDINGS) or variable == "True":
            continue
        number = int(index) & 0xFFFF if index.isdecimal() else 0
        heavy = float(weight) if weight.replace(".", "").isdecimal() else _REGULAR
        found.append(_described(Path(file), number, family, heavy, slant not in ("", "0")))
    return found


def _described(path: Path, index: int, name: str, weight: float, slanted: bool | int) -> FontFile:
    words = f"{name} {path.stem}".lower()
    odd = sum(word in words for word in _ODD)
    sans = "sans" in words.replace("sans-serif", "")
    plain = (int(slanted), int(abs(weight - _REGULAR)), odd, not sans, "noto" not in words)
    return FontFile(path, index, name, tuple(map(int, plain)))


def _in_folders() -> Iterator[Path]:
    """Font files in the folders where this operating system keeps them."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home / "AppData" / "Local"))
        folders = [Path(os.environ.get("WINDIR", "C:\\Windows"), "Fonts"),
                   Path(local, "Microsoft", "Windows", "Fonts")]  # fmt: skip
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        own = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
        folders = [Path(one, "fonts") for one in (own, *shared.split(":"))] + [home / ".fonts"]
    for folder in folders:
        for base, _, names in os.walk(folder):
            yield from (Path(base, one) for one in names if one.lower().endswith(_ENDINGS))
