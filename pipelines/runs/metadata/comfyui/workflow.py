"""ComfyUI's workflow: the editor's form of a graph, rewritten in the form of its API.

Widgets have names only where an input was made of them, in newer versions always; for others
stands the order in which a node's class declares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.metadata.comfyui.graph import NODES_MAX, Graph, Node

_MUTED, _BYPASSED = 2, 4
_CONTROL = {"fixed", "increment", "decrement", "randomize"}
_WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl", "empty_padding"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "SDTurboScheduler": ("steps", "denoise"),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "ControlNetLoader": ("control_net_name",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "PrimitiveNode": ("value",),
    "Seed (rgthree)": ("seed",),
    "KSampler (Efficient)": (
        "seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "preview_method",
    ),
    "Efficient Loader": (
        "ckpt_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength",
        "lora_clip_strength", "positive", "negative", "token_normalization",
        "weight_interpretation", "empty_latent_width", "empty_latent_height", "batch_size",
    ),
}  # fmt: skip
_AFTER_SEED = {"seed", "noise_seed", "value"}


def read_workflow(found: Mapping[str, Any]) -> Graph:
    """Rewrite a workflow as a graph; what is muted is left out, what is bypassed is one link."""
    nodes = {str(node.get("id")): node for node in _objects(found.get("nodes"))}
    sources = dict(_links(found.get("links")))
    setters = {
        str(_first(node.get("widgets_values"))): _origin(node, sources)
        for node in nodes.values()
        if node.get("type") == "SetNode"
    }
    graph: Graph = {}
    for key, node in nodes.items():
        kind = node.get("type")
        if not isinstance(kind, str) or node.get("mode") == _MUTED:
            continue
        inputs: dict[str, Any] = {} if node.get("mode") == _BYPASSED else _widgets(node, kind)
        for one in _objects(node.get("inputs")):
            source = sources.get(str(one.get("link")))
            if source is not None and isinstance(one.get("name"), str):
                inputs[one["name"]] = list(source)
        if kind == "GetNode":
            origin = setters.get(str(_first(node.get("widgets_values"))))
            inputs = {"value": list(origin)} if origin else {}
        passes = node.get("mode") == _BYPASSED or kind in ("GetNode", "SetNode")
        graph[key] = Node(key, "Reroute" if passes else kind, inputs)
    return graph


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return (one for one in rows[:NODES_MAX] if isinstance(one, dict))


def _links(value: Any) -> Iterator[tuple[str, tuple[str, int]]]:
    for one in (value if isinstance(value, list) else [])[: 5 * NODES_MAX]:
        if isinstance(one, list) and len(one) >= 5:
            name, origin, output = one[0], one[1], one[2]
        elif isinstance(one, dict):
            name, origin, output = one.get("id"), one.get("origin_id"), one.get("origin_slot")
        else:
            continue
        if isinstance(origin, int | str):
            yield str(name), (str(origin), output if isinstance(output, int) else 0)


def _origin(node: Mapping[str, Any], sources: Mapping[str, tuple[str, int]]) -> Any:
    return next(
        (
            sources[key]
            for one in _objects(node.get("inputs"))
            if (key := str(one.get("link"))) in sources
        ),
        None,
    )


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _widgets(node: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Values of a node's widgets by name."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return dict(values)
    if not isinstance(values, list):
        return {}
    named = [
        one["widget"]["name"]
        for one in _objects(node.get("inputs"))
        if isinstance(one.get("widget"), dict) and isinstance(one["widget"].get("name"), str)
    ]
    declared = list(_WIDGETS.get(kind, ()))
    names = declared or (named if len(named) >= len(values) - 1 else [])
    found: dict[str, Any] = {}
    rest = list(values)
    for name in names:
        if not rest:
            break
        found[name] = rest.pop(0)
        # What happens to a seed after a run is a widget that has no input.
        if rest and name in _AFTER_SEED and isinstance(rest[0], str) and rest[0] in _CONTROL:
            rest.pop(0)
    if not names:
        found.update(_guessed(values))
    return found


def _guessed(values: list[Any]) -> dict[str, Any]:
    """Values of a class that is not known here: a text, or LoRAs that name themselves."""
    texts = [one for one in values if isinstance(one, str) and one not in _CONTROL]
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    found: dict[str, Any] = {
        f"lora_{number}": one for number, one in enumerate(values) if isinstance(one, dict)
    }
    if texts:
        found["text"] = max(texts, key=len)
    if len(numbers) == 1:
        found["value"] = numbers[0]
    return found
