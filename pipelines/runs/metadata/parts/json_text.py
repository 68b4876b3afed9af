"""JSON of strangers: parses texts within limits on size, depth and digits."""

from __future__ import annotations

import json
from typing import Any

TEXT_MAX = 8 * 2**20
"""Longer texts are not read; the largest graphs of ComfyUI seen have 3 million characters."""
CONTAINERS_MAX = 100_000
VALUES_MAX = 1_000_000
_DIGITS_MAX = 40


def read_json(text: str) -> Any:
    """Parse JSON text; None if it is none, or too large to be settings."""
    text = text.strip("\0 \t\r\n\ufeff")
    # Texts that begin otherwise are no settings; most are prompts.
    if not text.startswith(("{", "[", '"')) or len(text) > TEXT_MAX:
        return None
    if text.count("[") + text.count("{") > CONTAINERS_MAX or text.count(",") > VALUES_MAX:
        return None
    try:
        return json.loads(text, parse_int=_whole, strict=False)
    except (ValueError, RecursionError):
        return None


def read_object(text: Any) -> dict[str, Any]:
    """Parse a JSON object, also one that is written as a JSON string; empty if it is none."""
    for _ in range(2):
        if isinstance(text, str):
            text = read_json(text)
    return text if isinstance(text, dict) else {}


def plain(value: Any) -> str | None:
    """Write a single value as text; None for what is no text and no number."""
    if isinstance(value, str):
        return clean(value).strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def clean(text: str) -> str:
    """Replace halves of surrogate pairs, which no output can write."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")


def _whole(digits: str) -> int | str:
    # Python refuses to print or parse thousands of digits; no setting has that many.
    return int(digits) if len(digits) <= _DIGITS_MAX else digits
