"""ComfyUI: reads samplers, prompts, models and LoRAs out of the graph that made a picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.comfyui.graph import (
    Graph,
    Node,
    ancestors,
    link,
    name_of,
    number,
    read_graph,
    walk,
)
from pipelines.runs.metadata.comfyui.models import controlnets, graph_loras, models, size, vae
from pipelines.runs.metadata.comfyui.texts import TextWalk
from pipelines.runs.metadata.comfyui.workflow import read_workflow
from pipelines.runs.metadata.parts.json_text import read_json, read_object
from pipelines.runs.metadata.parts.settings import Sampling, Settings, said

_SAMPLERS_MAX = 12
_SEEDS = ("seed", "noise_seed")
# Where a sampler keeps what others keep in itself.
_PARTS = re.compile(
    r"^(guider|noise|sampler|sigmas?|sigmas_\w+|schedule|scheduler|settings|options|"
    r"\w*pipe|sdxl_tuple|context|base_ctx|ctx)$",
    re.IGNORECASE,
)
# Texts may be long: only those with a mark are parsed.
_MARKS = re.compile(r'class_type|"nodes\\?"')
_OUTPUT = re.compile(r"save|websocket|videocombine|^image ?output", re.IGNORECASE)
_VIEW = re.compile(r"preview|display|show|output", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_BASIC = re.compile(r"basicguider|fluxguider", re.IGNORECASE)


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read the graph of a picture, in the API's form or the editor's; None if there is none."""
    objects = [
        one
        for text in texts.values()
        if _MARKS.search(text) and isinstance(one := read_json(text), dict)
    ]
    for found in objects:
        for candidate in (found, found.get("prompt"), found.get("output")):
            graph = read_graph(read_object(candidate))
            settings = _settings(graph) if graph else None
            if settings is not None:
                return settings
    for found in objects:
        for candidate in (found, found.get("workflow"), _extra_workflow(found)):
            editor = read_object(candidate)
            if isinstance(editor.get("nodes"), list):
                settings = _settings(read_workflow(editor))
                if settings is not None:
                    return settings
    return None


def _extra_workflow(found: Mapping[str, Any]) -> Any:
    extra = found.get("extra_pnginfo", found.get("extra_data"))
    return extra.get("workflow") if isinstance(extra, dict) else None


def _settings(graph: Graph) -> Settings | None:
    ran = [(node, _sampling(graph, node)) for node in _in_order(graph)]
    if not ran:
        return None
    # What runs without noise prepares a map.
    ran.sort(key=lambda pair: pair[1].seed is None)
    nodes, samplings = zip(*ran, strict=True)
    first = nodes[0]
    # Later passes often reuse what the first has, and detailers bring prompts of their own.
    prompts = next(filter(None, (_prompts(graph, node, "positive") for node in nodes)), ())
    found = Settings(
        generator="ComfyUI",
        prompts=prompts,
        negative_prompts=_prompts(graph, first, "negative"),
        samplings=samplings,
        models=said(name for node in nodes for name in models(graph, node)),
        size=size(graph, first),
        clip_skip=_clip_skip(graph, first),
        vae=vae(graph),
        loras=graph_loras(graph, nodes),
        controlnets=controlnets(graph, first),
    )
    return found if found.says_something else None


def _in_order(graph: Graph) -> Iterator[Node]:
    """Samplers whose picture was kept, those first that others build on."""
    found = [node for node in graph.values() if _samples(node)][:_SAMPLERS_MAX]
    above = {node.id: ancestors(graph, node.id) for node in found}
    ranks: dict[str, int] = {}
    for rank, kind in ((1, _VIEW), (0, _OUTPUT)):
        ends = [node.id for node in graph.values() if kind.search(node.kind)]
        for node in walk(graph, ends, lambda node: node.links.values()):
            ranks[node.id] = rank
    kept = [node for node in found if node.id in ranks] or found
    return iter(
        sorted(
            kept,
            key=lambda node: (
                ranks.get(node.id, 0),
                sum(other.id in above[node.id] for other in found),
            ),
        )
    )


def _samples(node: Node) -> bool:
    inputs = node.inputs.keys()
    seeded = any(key in inputs for key in (*_SEEDS, "noise"))
    runs = "steps" in inputs or "sigmas" in inputs
    return (seeded and runs) or ("sampler_name" in inputs and "cfg" in inputs and runs)


def _parts(graph: Graph, node: Node) -> list[Node]:
    """A sampler and the nodes that hold its settings, nearest first."""

    def follow(one: Node) -> Iterable[str]:
        return (source for key, source in one.links.items() if _PARTS.match(key))

    return list(walk(graph, [node.id], follow))


def _find(graph: Graph, parts: list[Node], *keys: str) -> str | None:
    """The first value under these names, at the sampler or at the nodes that hold its settings."""
    values = (
        number(graph, part.inputs[key], keys)
        for part in parts
        for key in keys
        if key in part.inputs
    )
    return next((found for found in values if found), None)


def _find_number(graph: Graph, parts: list[Node], *keys: str) -> str | None:
    """As `_find`, but a number: nodes that compute hold formulas under the same names."""
    values = (_find(graph, [part], key) for part in parts for key in keys)
    return next((found for found in values if found and _NUMBER.fullmatch(found)), None)


def _sampling(graph: Graph, node: Node) -> Sampling:
    parts = _parts(graph, node)
    scale = _find_number(graph, parts, "cfg", "cfg_scale", "true_gs", "cfg_conds", "guidance_scale")
    if scale is None:
        # A guider without a scale has one conditioning, which is a scale of 1.
        scale = "1" if any(_BASIC.search(part.kind) for part in parts) else None
    distilled = _distilled(graph, parts)
    return Sampling(
        name=_find(graph, parts, "sampler_name") or _sampler_class(parts) or _named(node),
        steps=_find_number(graph, parts, "steps", "steps_total") or _counted(parts),
        scale=scale or _find_number(graph, parts, "guidance"),
        seed=_find_number(graph, parts, *_SEEDS),
        schedule=_find(graph, parts, "scheduler") or _schedule_class(parts),
        distilled=distilled,
        denoise=_find_number(graph, parts, "denoise", "denoise_strength"),
    )


def _sampler_class(parts: list[Node]) -> str | None:
    """A sampler that is a node of its own: `SamplerEulerAncestral`."""
    return next((part.kind[7:] for part in parts[1:] if re.match(r"Sampler[A-Z]", part.kind)), None)


def _named(node: Node) -> str | None:
    """A sampler that is named where others have a link."""
    return name_of(node.inputs.get("sampler"))


def _schedule_class(parts: list[Node]) -> str | None:
    """A schedule that is a node of its own: `KarrasScheduler`."""
    return next((part.kind[:-9] for part in parts[1:] if part.kind.endswith("Scheduler")), None)


def _counted(parts: list[Node]) -> str | None:
    """Steps of noise levels that are written out."""
    for part in parts[1:]:
        levels = part.inputs.get("sigmas")
        if isinstance(levels, str):
            return str(max(1, len(re.findall(r"\d[\d.]*", levels)) - 1))
    return None


def _conditioned(node: Node) -> list[str]:
    return [
        source
        for key, source in node.links.items()
        if re.match(r"(base_)?positive|cond|.*pipe|text_embeds|context", key, re.IGNORECASE)
    ]


def _distilled(graph: Graph, parts: list[Node]) -> str | None:
    starts = [source for part in parts for source in _conditioned(part)]
    for node in walk(graph, starts, _conditioned):
        if "guidance" in node.inputs:
            return number(graph, node.inputs["guidance"], ("guidance",))
    return None


def _prompts(graph: Graph, node: Node, side: str) -> tuple[str, ...]:
    names = {
        "positive": ("positive", "base_positive", "conditioning", "cond1", "cond", "text_embeds"),
        "negative": ("negative", "base_negative", "neg_conditioning", "text_embeds"),
    }[side]
    walked = TextWalk(graph)
    for part in _parts(graph, node):
        for key in (*names, "prompt" if side == "positive" else "negative_prompt"):
            value = part.inputs.get(key)
            # At the sampler a link says itself which side it is.
            if link(value) is None and not isinstance(value, str):
                continue
            found = said(walked.prompts(value, side))
            if found:
                return found
            if link(value) is not None and key in names[:2]:
                return ()
    pipes = [
        v for k, v in node.inputs.items() if link(v) and re.search("pipe|tuple|ctx|context", k)
    ]
    return said(text for value in pipes for text in walked.prompts(value, side))


def _clip_skip(graph: Graph, node: Node) -> str | None:
    for one in walk(graph, [node.id], lambda node: node.links.values()):
        for key in ("stop_at_clip_layer", "clip_skip"):
            found = name_of(one.inputs.get(key))
            if found is not None and found.lstrip("-").isdigit():
                return found.lstrip("-")
    return None
