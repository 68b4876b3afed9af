"""AUTOMATIC1111's text: prompt, negative prompt and a line of facts, as many tools write it.

Source: modules/infotext_utils.py of AUTOMATIC1111/stable-diffusion-webui, whose quotes are JSON's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.parts.json_text import clean, read_json
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.parts.synonyms import folded, from_mapping, lora_tags, loras
from pipelines.runs.metadata.tools.sdnext import generator_of

_KEY = re.compile(r"[\s,;]*(\w[\w \-/.+&()]{0,79}?)[ \t]*:[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?=[,\n]|$)', re.DOTALL)
_END = re.compile(r"[,\n]")
_START = re.compile(r"^[ \t]*(?:Steps|Seed|Sampler|Size|CFG scale|Model)[ \t]*:", re.MULTILINE)
_INLINE = re.compile(r"\bSteps: ?\d+, ")
_NEGATIVE = re.compile(r"^[ \t]*Negative prompt:", re.MULTILINE)
_CONTROL = re.compile(r"^controlnet[ -]?(\d*)[ -]?(.*)$", re.IGNORECASE)
# What bounds the work on texts that are no settings.
_TEXT_MAX = 2**19
_STARTS_MAX = 20
_FACTS_MAX = 5_000
_OBJECTS_MAX = 5
_CORE = {"steps", "seed", "sampler", "cfgscale", "size", "model", "modelhash"}


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read the first text in this grammar; None if there is none."""
    for text in texts.values():
        found = read_text(text)
        if found is not None:
            return found
    return None


def read_text(text: str) -> Settings | None:
    """Read one text; None if it has no line of facts or several negative prompts."""
    text = text.replace("\r\n", "\n").strip("\0\n ")
    if len(text) > _TEXT_MAX or ":" not in text or text.startswith(("{", "[")):
        return None
    found = _split(text)
    if found is None:
        return None
    words, facts = found
    parts = _NEGATIVE.split(words)
    if len(parts) > 2:
        return None
    prompt = clean(parts[0]).strip()
    negative = clean(parts[1]).strip() if len(parts) == 2 else ""
    settings = from_mapping(
        generator_of(facts),
        {**facts, "prompt": prompt, "negative prompt": negative},
        hires={k: v for k, v in facts.items() if folded(k).startswith("hires")},
        loras=lora_tags(prompt) or _hashed_loras(facts),
        controlnets=_controls(facts),
    )
    return settings if settings.says_something else None


def read_facts(text: str) -> dict[str, str]:
    """Read `Key: value, Key: "quoted, value"`; of equal keys the first counts."""
    found: dict[str, str] = {}
    for key, value in _facts(text):
        found.setdefault(key, value)
    return found


def _split(text: str) -> tuple[str, dict[str, str]] | None:
    """Cut a text before its facts: prompts may have lines that look like them."""
    starts = [match.start() for match in _START.finditer(text)][-_STARTS_MAX:]
    while starts:
        start = starts.pop()
        facts = read_facts(text[start:])
        if len(_CORE & {folded(key) for key in facts}) < 2 or len(facts) < 3:
            continue
        # Some tools write a line a fact.
        while starts and "\n" not in (line := text[starts[-1] : start]).rstrip("\n"):
            above = read_facts(line)
            if facts.keys() & above.keys():
                break
            start, facts = starts.pop(), {**above, **facts}
        return text[:start], facts
    *_, inline = [None, *_INLINE.finditer(text)]
    if inline is not None:
        facts = read_facts(text[inline.start() :])
        if len(_CORE & {folded(key) for key in facts}) >= 3:
            return text[: inline.start()], facts
    return None


def _facts(text: str) -> Iterator[tuple[str, str]]:
    position, quotes, objects = 0, True, _OBJECTS_MAX
    for _ in range(_FACTS_MAX):
        match = _KEY.match(text, position)
        if match is None:
            end = _END.search(text, position + 1)
            if end is None:
                return
            position = end.end()
            continue
        position = match.end()
        first = text[position : position + 1]
        quoted = _QUOTED.match(text, position) if first == '"' and quotes else None
        if quoted is not None:
            yield match[1], _unquoted(quoted[0].rstrip(), quoted[1])
            position = quoted.end()
            continue
        # A quote that never ends would be looked for again at every later one.
        quotes = quotes and not (first == '"' and text.find('"', position + 1) < 0)
        if first in ("[", "{") and first and objects:
            objects -= 1
            end_of_object = _object_end(text, position)
            if end_of_object is not None:
                yield match[1], text[position:end_of_object]
                position = end_of_object
                continue
        end = _END.search(text, position)
        stop = len(text) if end is None else end.start()
        yield match[1], text[position:stop].strip()
        position = stop + 1


def _unquoted(quoted: str, inside: str) -> str:
    try:
        value = json.loads(quoted, strict=False)
    except ValueError:
        return inside  # such as a path of Windows, which nobody escaped
    return clean(value) if isinstance(value, str) else inside


def _object_end(text: str, start: int) -> int | None:
    try:
        return json.JSONDecoder().raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _hashed_loras(facts: Mapping[str, str]) -> tuple[Mapping[str, str], ...]:
    """LoRAs outside the prompt: Civitai's resources, `Lora hashes`."""
    resources = read_json(facts.get("Civitai resources", ""))
    if isinstance(resources, list):
        return loras(
            (one.get("modelName") or str(one.get("modelVersionId") or ""), one.get("weight"))
            for one in resources
            if isinstance(one, dict) and one.get("type") in ("lora", "lycoris", "dora")
        )
    hashes = read_facts(facts.get("Lora hashes", ""))
    return loras((name, _scale_of(value)) for name, value in hashes.items())


def _scale_of(value: str) -> str | None:
    """Fooocus writes `name: hash: scale`."""
    _, colon, scale = value.rpartition(":")
    return scale.strip() if colon else None


def _controls(facts: Mapping[str, str]) -> tuple[Mapping[str, str], ...]:
    """ControlNets: one quoted fact each, or in older versions one fact a setting."""
    found: dict[str, dict[str, str]] = {}
    for key, value in facts.items():
        match = _CONTROL.match(key)
        if match is None:
            continue
        inside: Mapping[str, Any] = {match[2]: value} if match[2] else read_facts(value)
        unit = found.setdefault(match[1], {})
        unit.update({name.strip().lower().replace(" ", "_"): one for name, one in inside.items()})
    return tuple(one for one in found.values() if "model" in one or "module" in one)
