"""InvokeAI: its metadata of versions 3 to 6, `sd-metadata` of version 2, and `Dream` before.

Source: invokeai/app/invocations/metadata.py; docs of version 2, "The Metadata of InvokeAI".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.carriers.texts import first
from pipelines.runs.metadata.parts.json_text import plain, read_object
from pipelines.runs.metadata.parts.settings import Sampling, Settings, said
from pipelines.runs.metadata.parts.synonyms import file_name, from_mapping, loras, size

_DREAM = re.compile(r'^"(.*)"((?:\s+-\w+ \S+)*)', re.DOTALL)
_OPTION = re.compile(r"-(\w+) (\S+)")
_NEGATIVE = re.compile(r"\[([^\[\]]*)\]")


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read what InvokeAI wrote; None if it did not."""
    found = read_object(first(texts, "invokeai_metadata"))
    if found:
        return _metadata(found)
    found = read_object(first(texts, "sd-metadata"))
    if isinstance(found.get("image"), dict):
        return _second(found, found["image"])
    dream = _DREAM.match(first(texts, "Dream")[:100_000])
    return None if dream is None else _dream(dream[1], dict(_OPTION.findall(dream[2])))


def _metadata(found: Mapping[str, Any]) -> Settings:
    nodes = found.get("nodes")
    if isinstance(nodes, dict) and "positive_prompt" not in found:
        return _metadata_of_nodes(nodes)
    # What it calls a scheduler is the sampler.
    fields = {**found, "sampler": found.get("scheduler"), "scheduler": None}
    controls = found.get("controlnets")
    return from_mapping(
        "InvokeAI",
        fields,
        models=said([file_name(_name(found.get("model")))]),
        vae=file_name(_name(found.get("vae"))),
        loras=loras(
            (_name(one.get("model") or one.get("lora")), one.get("weight"))
            for one in _objects(found.get("loras"))
        ),
        controlnets=tuple(_control(one) for one in _objects(controls)),
        hires={k: text for k, v in found.items() if k[:4] == "hrf_" and (text := plain(v))},
    )


def _metadata_of_nodes(nodes: Mapping[str, Any]) -> Settings:
    """A graph of the first releases of version 3, which wrote all of its nodes."""
    fields: dict[str, Any] = {}
    for node in _objects(list(nodes.values())):
        for key, value in node.items():
            fields.setdefault(key, value)
    return _metadata({**fields, "nodes": None, "positive_prompt": fields.get("prompt", "")})


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (one for one in (value if isinstance(value, list) else []) if isinstance(one, dict))


def _name(model: Any) -> str | None:
    """A model's name: `model_name` in version 3, `name` since version 4, or the text itself."""
    if isinstance(model, dict):
        return next(
            (text for k in ("model_name", "name", "key") if (text := plain(model.get(k)))), None
        )
    return plain(model)


def _control(one: Mapping[str, Any]) -> Mapping[str, str]:
    told = {
        "model": _name(one.get("control_model") or one.get("model")),
        "module": plain(one.get("processed_image") and one.get("processor_type")),
        "weight": plain(one.get("control_weight")),
        "guidance_start": plain(one.get("begin_step_percent")),
        "guidance_end": plain(one.get("end_step_percent")),
        "control_mode": plain(one.get("control_mode")),
    }
    return {key: text for key, text in told.items() if text}


def _second(found: Mapping[str, Any], image: Mapping[str, Any]) -> Settings:
    prompt = image.get("prompt")
    parts = [plain(one.get("prompt")) or "" for one in _objects(prompt)] or [plain(prompt) or ""]
    positive, negative = _brackets(" ".join(parts))
    return from_mapping(
        "InvokeAI",
        {**image, "prompt": positive, "negative": negative},
        models=said([file_name(plain(found.get("model_weights")))]),
    )


def _dream(prompt: str, options: Mapping[str, str]) -> Settings:
    positive, negative = _brackets(prompt)
    return Settings(
        generator="InvokeAI",
        prompts=said([positive]),
        negative_prompts=said([negative]),
        samplings=(
            Sampling(
                name=options.get("A"),
                steps=options.get("s"),
                scale=options.get("C"),
                seed=options.get("S"),
                denoise=options.get("f"),
            ),
        ),
        size=size(None, options.get("W"), options.get("H")),
    )


def _brackets(prompt: str) -> tuple[str, str]:
    """Until version 2, what stands in brackets is the negative prompt."""
    negative = " ".join(match[1].strip() for match in _NEGATIVE.finditer(prompt))
    return _NEGATIVE.sub("", prompt).strip(" ,"), negative.strip()
