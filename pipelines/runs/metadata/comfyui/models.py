"""Models of a ComfyUI graph: follows a sampler's model to its loader, with LoRAs on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.comfyui.graph import Graph, Node, link, name_of, number, walk
from pipelines.runs.metadata.parts.json_text import plain
from pipelines.runs.metadata.parts.synonyms import file_name, loras
from pipelines.runs.metadata.parts.synonyms import size as picture_size

_NAMES = (
    "ckpt_name", "unet_name", "base_ckpt_name", "gguf_name", "diffusion_name", "model_name",
    "model_path", "base_model", "ckpt", "model",
)  # fmt: skip
_SURE = frozenset(_NAMES[:5])
_TOWARDS_MODEL = re.compile(
    r"^(?!.*(?:upscale|sam_|style|clip|bbox|segm|detector|vision|control|ipadapter|insight)).*"
    r"(?:model|unet|pipe|tuple|ctx|context|guider|sigmas|lora|any_?\d*$|input\d*$|value$|\*|^$)|^$",
    re.IGNORECASE,
)
_ANY_WAY = re.compile(r"reroute|switch|^get|^set|^any", re.IGNORECASE)
_LATENT = re.compile(r"latent|samples|pipe|tuple|ctx|context|^value$|^$|input|any", re.IGNORECASE)
_SIZES = (
    ("width", "height"),
    ("empty_latent_width", "empty_latent_height"),
    ("base_width", "base_height"),
)
_SCALES = ("strength_model", "lora_model_strength", "model_weight", "lora_wt", "strength", "weight")


def _towards_model(node: Node) -> Iterable[str]:
    every = _ANY_WAY.search(node.kind)
    links = node.links.items()
    return (source for key, source in links if every or _TOWARDS_MODEL.search(key))


def models(graph: Graph, sampler: Node) -> Iterator[str]:
    """Names of the model that a sampler used: the first that its links lead to."""
    for node in walk(graph, [sampler.id], _towards_model):
        for key in _NAMES:
            value = node.inputs.get(key)
            if key == "model" and node.id == sampler.id:
                continue
            name = file_name(
                number(graph, value, _NAMES) if link(value) and key in _SURE else name_of(value)
            )
            if name and (key in _SURE or "upscale" not in node.kind.lower()):
                yield name
                return
    for node in graph.values():
        for key in _SURE & node.inputs.keys():
            name = file_name(name_of(node.inputs[key]))
            if name:
                yield name
                return


def graph_loras(graph: Graph, samplers: Iterable[Node]) -> tuple[Mapping[str, str], ...]:
    """LoRAs between the samplers and their loaders, each once."""
    found: dict[str, Any] = {}
    for node in walk(graph, [one.id for one in samplers], _towards_model):
        for name, scale in _loras_of(graph, node):
            found.setdefault(name, scale)
    return loras(found.items())


def _loras_of(graph: Graph, node: Node) -> Iterator[tuple[str, str | None]]:
    inputs = node.inputs
    most = plain(inputs.get("lora_count"))
    for key, value in inputs.items():
        if isinstance(value, dict) and isinstance(value.get("lora"), str):
            if value.get("on", True):
                yield value["lora"], plain(value.get("strength"))
            continue
        match = re.fullmatch(r"lora(?:_name)?(?:_(\d{1,3}))?(?:_name)?", key)
        name = name_of(value) if match else None
        if match is None or not name or name.lower() == "none":
            continue
        tail = f"_{match[1]}" if match[1] else ""
        if most is not None and most.isdigit() and match[1] and int(match[1]) > int(most[:6]):
            continue
        if str(inputs.get(f"switch{tail}", inputs.get(f"enabled{tail}", "On"))) in ("Off", "False"):
            continue
        keys = [
            *(f"{one}{tail}" for one in _SCALES), f"model_str{tail}", f"lora{tail}_strength",
            f"lora{tail}_model_strength",
        ]  # fmt: skip
        scale = next((number(graph, inputs[one]) for one in keys if one in inputs), None)
        yield name, scale


def size(graph: Graph, sampler: Node) -> tuple[str, str] | None:
    """Width and height of the empty latents that a sampler began with."""

    def follow(node: Node) -> Iterable[str]:
        every = _ANY_WAY.search(node.kind)
        return (source for key, source in node.links.items() if every or _LATENT.search(key))

    for node in walk(graph, [sampler.id], follow):
        picked = picture_size(name_of(node.inputs.get("resolution")))
        if picked is not None:
            return picked
        for wide, high in _SIZES:
            if wide in node.inputs and high in node.inputs:
                pair = (
                    number(graph, node.inputs[wide], (wide,)),
                    number(graph, node.inputs[high], (high,)),
                )
                if pair[0] and pair[1] and pair[0].isdigit() and pair[1].isdigit():
                    return pair[0], pair[1]
    return None


def vae(graph: Graph) -> str | None:
    """The VAE that was loaded by itself and decodes a picture."""
    for node in graph.values():
        if "vae" in node.links and "decode" in node.kind.lower():
            source = graph.get(node.links["vae"])
            found = file_name(name_of(source.inputs.get("vae_name"))) if source else None
            if found:
                return found
    return None


def controlnets(graph: Graph, sampler: Node) -> tuple[Mapping[str, str], ...]:
    """ControlNets that act on a sampler's conditioning, with strength and window."""

    def follow(node: Node) -> Iterable[str]:
        skip = {"latent_image", "samples", "image", "model", "clip", "vae"}
        return (source for key, source in node.links.items() if key not in skip)

    found: list[Mapping[str, str]] = []
    for node in walk(graph, [sampler.id], follow):
        if "control_net" not in node.links:
            continue
        loader = next(
            (one for one in walk(graph, [node.links["control_net"]], lambda one: one.links.values())
             if "control_net_name" in one.inputs),
            None,
        )  # fmt: skip
        told = {
            "model": file_name(name_of(loader.inputs["control_net_name"])) if loader else None,
            "weight": number(graph, node.inputs.get("strength")),
            "guidance_start": number(graph, node.inputs.get("start_percent")),
            "guidance_end": number(graph, node.inputs.get("end_percent")),
        }
        found.append({key: text for key, text in told.items() if text})
    return tuple(found)
