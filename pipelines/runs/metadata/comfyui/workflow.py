"""ComfyUI's workflow: the editor's form of a graph, rewritten in the form of its API.

Widgets have names only where an input was made of them, in newer versions always; for others
stands the order in which a node's class declares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
    "Flux2Scheduler": ("steps", "width", "height"),
    "ComfySwitchNode": ("switch",),
    "PrimitiveBoolean": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "DualCFGGuider": ("cfg_conds", "cfg_cond2_negative", "style"),
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
_INPUT, _OUTPUT = "-10", "-20"
_DEPTH_MAX = 8
_FILES = (".safetensors", ".ckpt", ".gguf", ".sft", ".pth", ".pt")
_AFTER_SEED = {"seed", "noise_seed", "value"}


class _Link(NamedTuple):
    """A link of the editor: from an output to an input; -10 and -20 are a subgraph's own."""

    name: str
    origin: str
    output: int
    target: str
    input: int


def read_workflow(found: Mapping[str, Any]) -> Graph:
    """Rewrite a workflow as a graph; what is muted is left out, what is bypassed is one link."""
    inner = found.get("definitions")
    rows = _objects(inner.get("subgraphs")) if isinstance(inner, dict) else ()
    graph: Graph = {}
    _expand(graph, found, "", {}, {str(one.get("id")): one for one in rows}, ())
    return graph


def _expand(
    graph: Graph,
    scope: Mapping[str, Any],
    prefix: str,
    outer: Mapping[int, Any],
    subgraphs: Mapping[str, Mapping[str, Any]],
    trail: tuple[str, ...],
) -> dict[int, Any]:
    """Add the nodes of a scope to a graph, those of its subgraphs in their places.

    Args:
        prefix: of the ids of its nodes.
        outer: links and values that come to a subgraph from outside, by input.
        trail: subgraphs that this scope stands in; none holds itself.
    Returns: links and values that leave a subgraph, by output.
    """
    nodes = {str(node.get("id")): node for node in _objects(scope.get("nodes"))}
    links = list(_links(scope.get("links")))
    sources = {one.name: one for one in links}

    def value(name: Any) -> Any:
        one = sources.get(str(name))
        if one is None:
            return None
        if one.origin == _INPUT:
            return outer.get(one.output)
        if nodes.get(one.origin, {}).get("type") in subgraphs:
            return [f"{prefix}{one.origin}/{one.output}", 0]
        return [f"{prefix}{one.origin}", one.output]

    setters = {
        str(_first(node.get("widgets_values"))): origin
        for node in nodes.values()
        if node.get("type") == "SetNode"
        for one in _objects(node.get("inputs"))
        if (origin := value(one.get("link"))) is not None
    }
    for key, node in nodes.items():
        kind, mode = node.get("type"), node.get("mode")
        if not isinstance(kind, str) or mode == _MUTED or len(graph) > NODES_MAX:
            continue
        inputs: dict[str, Any] = {} if mode == _BYPASSED else _widgets(node, kind)
        for one in _objects(node.get("inputs")):
            source = value(one.get("link"))
            if source is not None and isinstance(one.get("name"), str):
                inputs[one["name"]] = source
        if kind in subgraphs and kind not in trail and len(trail) < _DEPTH_MAX:
            inside = subgraphs[kind]
            names = [one.get("name") for one in _objects(inside.get("inputs"))]
            given = {number: inputs[name] for number, name in enumerate(names) if name in inputs}
            place = f"{prefix}{key}"
            graph[place] = Node(place, kind)  # counts, so that nesting has an end
            leaving = _expand(graph, inside, f"{place}:", given, subgraphs, (*trail, kind))
            for number, source in leaving.items():
                graph[f"{place}/{number}"] = Node(f"{place}/{number}", "Reroute", {"value": source})
            continue
        if kind == "GetNode":
            origin = setters.get(str(_first(node.get("widgets_values"))))
            inputs = {"value": origin} if origin else {}
        passes = mode == _BYPASSED or kind in ("GetNode", "SetNode")
        graph[prefix + key] = Node(prefix + key, "Reroute" if passes else kind, inputs)
    ends = {one.input: value(one.name) for one in links if one.target == _OUTPUT}
    return {number: source for number, source in ends.items() if source is not None}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return (one for one in rows[:NODES_MAX] if isinstance(one, dict))


def _links(value: Any) -> Iterator[_Link]:
    for one in (value if isinstance(value, list) else [])[: 5 * NODES_MAX]:
        if isinstance(one, list) and len(one) >= 5:
            name, origin, output, target, place = one[:5]
        elif isinstance(one, dict):
            name, origin, output = one.get("id"), one.get("origin_id"), one.get("origin_slot")
            target, place = one.get("target_id"), one.get("target_slot")
        else:
            continue
        numbers = [part if isinstance(part, int) else 0 for part in (output, place)]
        yield _Link(_text(name), _text(origin), numbers[0], _text(target), numbers[1])


def _text(value: Any) -> str:
    return str(value) if isinstance(value, int | str) else ""


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
        found.update(_guessed(values, kind))
    return found


def _guessed(values: list[Any], kind: str) -> dict[str, Any]:
    """Values of a class that is not known here: a text, or LoRAs that name themselves."""
    texts = [one for one in values if isinstance(one, str) and one not in _CONTROL]
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    found: dict[str, Any] = {
        f"lora_{number}": one for number, one in enumerate(values) if isinstance(one, dict)
    }
    files = [one for one in texts if one.lower().endswith(_FILES)]
    if files:
        known = next((part for part in ("lora", "vae") if part in kind.lower()), "ckpt")
        found[f"{known}_name"] = files[0]
    elif texts:
        found["text"] = max(texts, key=len)
    if len(numbers) == 1:
        found["value"] = numbers[0]
    return found
