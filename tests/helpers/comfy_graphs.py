"""Graphs of ComfyUI: the plain one, in the API's form and in the editor's, and their checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.runs.metadata.comfyui.reader import read

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def plain(**more: Any) -> Graph:
    """Text to image as ComfyUI starts with it, with nodes replaced or added."""
    return {
        "3": node(
            "KSampler", seed=42, steps=20, cfg=7.5, sampler_name="euler", scheduler="karras",
            denoise=1.0, model=["4", 0], positive=["6", 0], negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd/thing.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
        **more,
    }  # fmt: skip


def changed(graph: Graph, number: str, **inputs: Any) -> Graph:
    return {**graph, number: {**graph[number], "inputs": {**graph[number]["inputs"], **inputs}}}


def settings(graph: Mapping[str, Any], key: str = "prompt") -> dict[str, Any]:
    found = read({key: json.dumps(graph)})
    assert found is not None
    return found.to_json()


def check(graph: Graph, **more: Any) -> dict[str, Any]:
    found = settings(graph)
    assert found["prompts"] == more.pop("prompts", ["a fox"])
    assert found["negative_prompts"] == more.pop("negative_prompts", ["blurry"])
    assert found["models"] == more.pop("models", ["thing.safetensors"])
    one = found["samplers"][0]
    core = {key: one.get(key) for key in ("name", "steps", "cfg_scale", "seed", "scheduler")}
    assert core == more.pop(
        "sampler",
        {"name": "euler", "steps": "20", "cfg_scale": "7.5", "seed": "42", "scheduler": "karras"},
    )
    assert {key: found.get(key) for key in more} == more
    return found


WIDGETS: dict[str, list[Any]] = {
    "3": [42, "randomize", 20, 7.5, "euler", "karras", 1],
    "4": ["thing.safetensors"], "5": [512, 768, 1], "6": ["a fox"], "7": ["blurry"],
    "8": [], "9": ["ComfyUI"],
}  # fmt: skip


def workflow(graph: Graph, widgets: Mapping[str, list[Any]], **modes: int) -> dict[str, Any]:
    """A graph as the editor writes it."""
    links: list[list[Any]] = []
    nodes: list[dict[str, Any]] = []
    for key, one in graph.items():
        inputs = []
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                links.append([len(links) + 1, int(value[0]), value[1], int(key), 0, "X"])
                inputs.append({"name": name, "type": "X", "link": len(links)})
        nodes.append(
            {
                "id": int(key), "type": one["class_type"], "mode": modes.get(f"n{key}", 0),
                "inputs": inputs, "outputs": [], "widgets_values": widgets.get(key, []),
            }
        )  # fmt: skip
    return {"last_node_id": 9, "nodes": nodes, "links": links, "version": 0.4}


def check_workflow(found: dict[str, Any]) -> None:
    read_back = settings(found, "workflow")
    assert read_back["prompts"] == ["a fox"] and read_back["negative_prompts"] == ["blurry"]
    assert read_back["models"] == ["thing.safetensors"] and read_back["size"] == "512x768"
    assert {k: read_back["samplers"][0][k] for k in ("seed", "steps", "cfg_scale")} == {
        "seed": "42", "steps": "20", "cfg_scale": "7.5",
    }  # fmt: skip


def flux(guider: dict[str, Any], **more: Any) -> Graph:
    return {
        "5": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a fox", clip=["11", 0]),
        "7": node("CLIPTextEncode", text="blurry", clip=["11", 0]),
        "8": node("VAEDecode", samples=["13", 0], vae=["10", 0]),
        "9": node("SaveImage", images=["8", 0]),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "11": node("DualCLIPLoader", clip_name1="t5", clip_name2="clip_l", type="flux"),
        "12": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "13": node("SamplerCustomAdvanced", noise=["25", 0], guider=["22", 0], sampler=["16", 0],
                   sigmas=["17", 0], latent_image=["5", 0]),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("BasicScheduler", scheduler="karras", steps=20, denoise=1, model=["30", 0]),
        "22": guider,
        "25": node("RandomNoise", noise_seed=42),
        "26": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
        "30": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, model=["12", 0]),
        **more,
    }  # fmt: skip
