"""Civitai's generator: `extraMetadata` inside a graph, or plain JSON, in EXIF; and plain JSON.

Draw Things and Easy Diffusion write plain JSON, or a text a setting, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.runs.metadata.parts.json_text import plain, read_object
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.parts.synonyms import folded, from_mapping, loras

_URN = re.compile(r"urn:air:[\w.-]+:(?:checkpoint|lora):\w+:(\d+)@(\d+)")
_FIELDS_MAX = 1_000


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read what Civitai's generator wrote; None if it did not."""
    for text in texts.values():
        if "extraMetadata" not in text and "civitai" not in text.lower():
            continue
        found = read_object(text)
        inside = read_object(found.get("extraMetadata"))
        if inside:
            return _settings(inside, found)
        if "prompt" in found and ("civitaiResources" in found or "resources" in found):
            return _settings(found, {})
    return None


def read_plain(texts: Mapping[str, str]) -> Settings | None:
    """Read JSON that names a prompt and steps or a seed, or the same as a text a setting."""
    for fields in (*map(read_object, texts.values()), texts):
        if len(fields) > _FIELDS_MAX:
            continue
        names = {folded(key) for key in fields if len(key) < 100}
        prompted = names & {"prompt", "positiveprompt", "c"}
        if prompted and names & {"steps", "numinferencesteps", "seed"}:
            more = {"prompt": fields["c"]} if "c" in fields and "prompt" not in fields else {}
            settings = from_mapping(_tool(fields), {**fields, **more})
            if settings.says_something:
                return settings
    return None


def _tool(fields: Mapping[str, Any]) -> str:
    if "use_stable_diffusion_model" in fields or "Stable Diffusion model" in fields:
        return "Easy Diffusion"
    return "Draw Things" if "c" in fields else "unknown"


def _settings(fields: Mapping[str, Any], graph: Mapping[str, Any]) -> Settings:
    resources = fields.get("resources") or fields.get("civitaiResources")
    rows = (
        [one for one in resources if isinstance(one, dict)] if isinstance(resources, list) else []
    )
    stack = _first_checkpoint(graph)
    models = [one for one in rows if one.get("type") in ("checkpoint", "model", "Checkpoint")]
    named = [plain(one.get("modelName") or one.get("name")) for one in models]
    return from_mapping(
        "Civitai",
        fields,
        models=tuple(one for one in named if one) or ((stack,) if stack else ()),
        loras=loras(
            (one.get("modelName") or one.get("name") or _version(one), _scale(one))
            for one in rows
            if one not in models and ("strength" in one or "weight" in one)
        ),
    )


def _version(one: Mapping[str, Any]) -> str | None:
    number = plain(one.get("modelVersionId"))
    return f"civitai:{number}" if number else None


def _scale(one: Mapping[str, Any]) -> Any:
    return one.get("strength", one.get("weight"))


def _first_checkpoint(graph: Mapping[str, Any]) -> str | None:
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        name = plain(inputs.get("ckpt_name")) if isinstance(inputs, dict) else None
        if name:
            match = _URN.match(name)
            return f"civitai:{match[2]}" if match else name
    return None
