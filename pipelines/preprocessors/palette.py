"""Segmentation palette: maps classes to colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Segment:
    """Segmentation class and its colour on the map."""

    name: str
    colour: tuple[int, int, int]


@cache
def ade20k() -> tuple[Segment, ...]:
    """Read the 150 classes of ADE20K in their order, from the file beside this one."""
    lines = Path(__file__).with_name("ade20k.txt").read_text("utf-8").splitlines()
    rows = [line.split(" ", 1) for line in lines if line.strip() and not line.startswith("# ")]
    return tuple(Segment(name, _colour(code)) for code, name in rows)


def _colour(code: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return red, green, blue
