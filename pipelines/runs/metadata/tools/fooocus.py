"""Fooocus' own scheme and RuinedFooocus: JSON in `parameters` or EXIF.

Fooocus' other scheme is AUTOMATIC1111's text.
Source: modules/meta_parser.py of lllyasviel/Fooocus; modules/imagebrowser.py of RuinedFooocus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.parts.json_text import plain, read_object
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.parts.synonyms import from_mapping, loras

# Texts may be long: only those with a mark are parsed.
_MARKS = re.compile(r"RuinedFooocus|metadata_scheme|performance|Fooocus", re.IGNORECASE)
_RUINED_LORA = re.compile(r"\s*(-?[\d.]+) - (.+)", re.DOTALL)
_RUINED_TAG = re.compile(r"<([^<>:]+):([^<>:]+)>")
_LOG_LORA = re.compile(r"(.*\S) : (-?[\d.]+)\s*", re.DOTALL)


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read what Fooocus or RuinedFooocus wrote; None if neither did."""
    for text in texts.values():
        found = read_object(text) if _MARKS.search(text) else {}
        if found.get("software") == "RuinedFooocus":
            return from_mapping("RuinedFooocus", found, loras=loras(_ruined(found.get("loras"))))
        if "metadata_scheme" in found or {"base_model", "performance"} <= found.keys():
            return from_mapping("Fooocus", found, loras=loras(_loras(found)))
        if {"Base Model", "Performance"} <= found.keys() or "Fooocus V2 Expansion" in found:
            return from_mapping("Fooocus", found, loras=loras(_loras(found)))
    return None


def _ruined(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, str):  # early versions: "Loras:<name:weight>,…"
        yield from _RUINED_TAG.findall(value)
        return
    for one in value if isinstance(value, list) else []:
        text = one[-1] if isinstance(one, list) and one else one
        match = _RUINED_LORA.fullmatch(text) if isinstance(text, str) else None
        if match is not None:
            yield match[2], match[1]


def _loras(found: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    rows = found.get("loras")
    for one in rows if isinstance(rows, list) else []:
        if isinstance(one, list) and len(one) >= 2:
            yield one[0], one[1]
    for key, value in found.items():
        text = plain(value) or ""
        match = _LOG_LORA.fullmatch(text) if key.lower().startswith("lora") else None
        if match is not None:
            yield match[1], match[2]
