"""NovelAI: JSON in `Comment` beside `Description`, in a PNG's texts, in EXIF or in the pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.runs.metadata.carriers.texts import first
from pipelines.runs.metadata.parts.json_text import plain, read_object
from pipelines.runs.metadata.parts.settings import Settings, said
from pipelines.runs.metadata.parts.synonyms import from_mapping

_SOURCE = re.compile(r"(.*\S)\s+[0-9A-F]{6,}")
# Texts may be long: only those with a mark are parsed.
_MARKS = re.compile(r'"(?:Comment|uc|noise_schedule|n_samples|request_type|v4_prompt|uncond_scale)')
_OWN = {"uc", "n_samples", "request_type", "v4_prompt", "noise_schedule", "uncond_scale"}


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read what NovelAI wrote; None if it did not."""
    comment = read_object(first(texts, "Comment"))
    if _is_own(comment):
        return _comment(comment, texts)
    for text in texts.values():
        # In EXIF and in pixels one object holds all texts.
        whole = read_object(text) if _MARKS.search(text) else {}
        inside = read_object(whole.get("Comment"))
        if _is_own(inside):
            return _comment(inside, {k: v for k, v in whole.items() if isinstance(v, str)})
        if _is_own(whole):
            return _comment(whole, texts)
    return None


def _is_own(comment: Mapping[str, Any]) -> bool:
    # Draw Things has a prompt `c` beside `uc`.
    return (
        {"seed", "steps"} <= comment.keys() and bool(_OWN & comment.keys()) and "c" not in comment
    )


def _comment(comment: Mapping[str, Any], texts: Mapping[str, str]) -> Settings:
    source = first(texts, "Source")
    match = _SOURCE.fullmatch(source[:200])
    prompts = [
        plain(comment.get("prompt")) or _caption(comment.get("v4_prompt")) or None,
        *_characters(comment.get("v4_prompt")),
    ]
    if prompts[0] is None:
        prompts[0] = first(texts, "Description")
    negative = plain(comment.get("uc")) or _caption(comment.get("v4_negative_prompt"))
    return from_mapping(
        "NovelAI",
        # Here `scale` is guidance's; `strength` is of the picture that it began with.
        {**comment, "guidance": None},
        prompts=said(prompts),
        negative_prompts=said([negative, *_characters(comment.get("v4_negative_prompt"))]),
        models=said([match[1] if match else source]),
    )


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _caption(prompt: Any) -> str | None:
    return plain(_object(prompt, "caption").get("base_caption"))


def _characters(prompt: Any) -> list[str | None]:
    found = _object(prompt, "caption").get("char_captions")
    rows = found if isinstance(found, list) else []
    return [plain(one.get("char_caption")) for one in rows if isinstance(one, dict)]
