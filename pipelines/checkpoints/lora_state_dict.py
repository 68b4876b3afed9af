"""LoRA state dict: reads what a file adds and fits it to a model's layers.

Names are translated by diffusers' own converters, which know every trainer's. They are given
*tracers* in the place of tensors: the narrowing half holds the number of its layer in the file,
the widening half the numbers of its rows. What comes out tells which rows of which layer a
module takes, also where one layer is cut into queries, keys and values; the numbers themselves
stay as they are in the file. A header alone is enough for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pipelines.checkpoints.adapter_metadata import alpha_over_rank, read_settings
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.identification import lora_names
from pipelines.checkpoints.identification.lora_names import BUNDLED, HALVES, LYCORIS, TUCKER
from pipelines.checkpoints.lora_delta import FORMS, AnyDelta, Delta, FactoredDelta, rank_of
from pipelines.errors import ModelUnavailable, first_line
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs
from pipelines.utils.file_cache import cached_by_file

_HALF = re.compile(
    r"\.(?:lora\.|lora_linear_layer\.)?(lora_A|lora_B|lora_down|lora_up|down|up)"
    r"(?:\.default)?\.weight$"
)
_ALPHA = re.compile(
    r"(?:[._](?:lora|lora_linear_layer))?(?:\.(?:lora_A|lora_down|down))?(?:\.weight)?\.alpha$"
)
_OLD_NAMES = {
    "unet": {
        "to_q_lora": "to_q", "to_k_lora": "to_k", "to_v_lora": "to_v",
        "to_out_lora": "to_out.0",
    },
    "text": {
        "to_q_lora": "q_proj", "to_k_lora": "k_proj", "to_v_lora": "v_proj",
        "to_out_lora": "out_proj",
    },
}  # fmt: skip
"""What diffusers' converters leave of layer names from before peft."""
_BLOCKS = {
    "down_blocks", "mid_block", "up_blocks", "conv_in", "conv_out", "time_embedding",
    "add_embedding", "transformer_blocks", "single_transformer_blocks", "x_embedder",
    "context_embedder", "time_text_embed", "proj_out", "norm_out", "pos_embed",
}  # fmt: skip
"""How names begin that leave out whose layers they are: the denoiser's."""
_WRAPPER = "base_model.model."
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Component to its weights' names and shapes."""
Deltas = Mapping[tuple[str, str], AnyDelta]
"""(component, module) to what is added to that module's weight."""


@dataclass(slots=True)
class _Layer:
    """One layer as it is in the file.

    Attributes:
        name: before the ending; `down`: the ending of a narrowing half, "" for other forms.
    """

    name: str
    down: str
    form: str
    factors: dict[str, Tensor] = field(default_factory=dict)
    alpha: float | None = None


def deltas(
    file: Path, tensors: Mapping[str, Tensor], family: FamilySpec, configs: Configs
) -> Deltas:
    """Read what a LoRA's file adds, by the names of diffusers' modules.

    Args:
        tensors: the file's; of those without numbers come deltas without numbers.
        configs: of the model's components; kohya's names of SDXL's layers depend on them.
    Raises: ModelUnavailable: if it holds anything that cannot be added.
    """
    settings = read_settings(file, read_header(file))
    layers = _layers(file, tensors)
    found: dict[tuple[str, str], AnyDelta] = {}
    for (part, module), (number, rows) in _places(file, layers, family, configs).items():
        layer = layers[number]
        rank = rank_of(layer.form, layer.factors)
        factor = 1.0
        if rank and layer.alpha is not None:
            factor = layer.alpha / rank
        elif rank and layer.form == "LoRA":
            factor = alpha_over_rank(settings, part, module, rank)
        if not isfinite(factor) or (layer.form == "LoRA" and not rank):
            raise ModelUnavailable(f"{file} is damaged: {layer.name} has no rank or no alpha")
        if layer.form == "LoRA":
            up = layer.factors["up"]
            part_of_up = up if rows is None else up[rows.to(up.device)]
            found[part, module] = Delta(layer.factors["down"], part_of_up, factor)
        else:
            found[part, module] = FactoredDelta(layer.form, layer.factors, factor, rows)
    return found


def _layers(file: Path, tensors: Mapping[str, Tensor]) -> list[_Layer]:
    """What the file holds, by its own names. Raises: ModelUnavailable: if something is unread."""
    if form := lora_names.refused_form(tensors):
        raise ModelUnavailable(f"{file} is no plain LoRA but {form}, which is not supported")
    layers: dict[tuple[str, str], _Layer] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        if key.startswith(BUNDLED):  # a word for prompts
            continue
        if key.endswith(".alpha"):
            alphas[_ALPHA.sub("", key)] = float(tensor) if tensor.device.type != "meta" else 1.0
            continue
        name, down, form, factor = _split(file, key)
        layer = layers.setdefault((name, down or form), _Layer(name, down, form))
        layer.factors[factor] = tensor
    for layer in layers.values():
        # Names with the parts of old processors say their alphas without them.
        layer.alpha = alphas.get(layer.name)
        if layer.form == "LoRA" and "mid" in layer.factors:
            layer.form = "Tucker"
        _check_whole(file, layer)
    return list(layers.values())


def _split(file: Path, key: str) -> tuple[str, str, str, str]:
    """Split a name into layer, ending of its narrowing half, form and factor."""
    for down, up in HALVES.items():
        for ending, factor in ((down, "down"), (up, "up")):
            if key.endswith(ending):
                return key.removesuffix(ending), down, "LoRA", factor
    if key.endswith(TUCKER):
        return key.removesuffix(TUCKER), ".lora_down.weight", "LoRA", "mid"
    for ending, form in LYCORIS.items():
        if key.endswith(ending):
            return key.removesuffix(ending), "", form, ending[1:]
    raise ModelUnavailable(
        f"{file} is no plain LoRA: {key!r} is none of its halves, and nothing reads it"
    )


def _check_whole(file: Path, layer: _Layer) -> None:
    given = layer.factors.keys()
    if layer.form in ("LoRA", "Tucker"):
        if not given >= {"down", "up"} or not all(layer.factors[x].dim() > 1 for x in given):
            raise ModelUnavailable(f"{file} is damaged: {layer.name} has one half only")
        return
    try:
        FORMS[layer.form]({name: one.to("meta") for name, one in layer.factors.items()})
    except (KeyError, RuntimeError, IndexError) as error:
        raise ModelUnavailable(
            f"{file} is damaged: the factors of {layer.name} do not make a {layer.form}: "
            f"{first_line(error)[:100]}"
        ) from None


def _places(
    file: Path, layers: list[_Layer], family: FamilySpec, configs: Configs
) -> dict[tuple[str, str], tuple[int, Tensor | None]]:
    """(component, module) to the number of its layer in the file, and its rows; None = all.

    Raises: ModelUnavailable: if no converter knows a name.
    """
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, tracer in _converted(file, _tracers(layers, family), family, configs).items():
        renamed = _renamed(key)
        match = _HALF.search(renamed)
        if match is None:
            raise ModelUnavailable(f"{file} is no plain LoRA: {key!r} is none of its halves")
        part, _, module = renamed[: match.start()].partition(".")
        if part in _BLOCKS:
            part, module = family.denoiser, f"{part}.{module}".removesuffix(".")
        half = "down" if match[1] in ("lora_A", "lora_down", "down") else "up"
        halves.setdefault((part, module), {})[half] = tracer
    places: dict[tuple[str, str], tuple[int, Tensor | None]] = {}
    for place, pair in halves.items():
        number, rows = int(pair["down"].flatten()[0]), pair["up"].flatten().long()
        whole = torch.equal(rows, torch.arange(_rows(layers[number])))
        places[place] = number, None if whole else rows
    seen = {number for number, _ in places.values()}
    for number, layer in enumerate(layers):
        if number not in seen and not _adds_nothing(layer):
            raise ModelUnavailable(
                f"{file} changes {layer.name!r}, which diffusers does not read; without it the "
                "LoRA would draw something else"
            )
    return places


def _tracers(layers: list[_Layer], family: FamilySpec) -> dict[str, Tensor]:
    tracers = {}
    for number, layer in enumerate(layers):
        name = layer.name.removeprefix(_WRAPPER)
        down = layer.down or ".lora_down.weight"
        if name.startswith("lycoris_"):
            name = name.replace("lycoris_", "lora_unet_", 1)
        first = name.partition(".")[0]
        if down == ".lora_down.weight" and (first in _BLOCKS or first in family.components):
            down = ".lora_A.weight"  # diffusers' names: only the ending is kohya's
        tracers[name + down] = torch.full((1, 1), float(number))
        rows = torch.arange(_rows(layer), dtype=torch.float32)
        tracers[name + HALVES[down]] = rows[:, None]
    return tracers


def _rows(layer: _Layer) -> int:
    """How many rows a layer's weight has."""
    if "up" in layer.factors:
        return int(layer.factors["up"].shape[0])
    return int(FactoredDelta(layer.form, layer.factors, 1.0).matrix("meta").shape[0])


def _adds_nothing(layer: _Layer) -> bool:
    """Whether a layer is all zeros; of one without numbers nobody can tell yet."""
    last = layer.factors.get("up")
    return last is not None and (last.device.type == "meta" or not last.any())


def _converted(
    file: Path, tracers: Mapping[str, Tensor], family: FamilySpec, configs: Configs
) -> dict[str, Tensor]:
    """The tracers by diffusers' names."""
    import diffusers.loaders

    if family.lora_loader is None:
        raise ModelUnavailable(f"no LoRA can change {family.id} models yet")
    reader: Any = getattr(diffusers.loaders, family.lora_loader)
    options: dict[str, Any] = {}
    if "unet" in configs:
        options["unet_config"] = SimpleNamespace(**configs["unet"])
    try:
        found = reader.lora_state_dict(dict(tracers), **options)
    except Exception as error:  # whatever the library raises, this file cannot be used
        raise ModelUnavailable(
            f"{file} cannot be read as a LoRA: {' '.join(str(error).split())[:300]}"
        ) from error
    return dict(found[0] if isinstance(found, tuple) else found)


def _renamed(key: str) -> str:
    part = key.partition(".")[0]
    for old, new in _OLD_NAMES["text" if part.startswith("text") else "unet"].items():
        key = key.replace(f".{old}.", f".{new}.")
    return key.replace(".processor.", ".")


def weight_name(module: str, shapes: Mapping[str, Any]) -> str | None:
    """Find the name of a module's weight in a component; None if it is not there.

    CLIP's encoders have `text_model.` before their names in some versions and files.
    """
    bare = module.removeprefix("text_model.")
    for name in (f"{module}.weight", f"{bare}.weight", f"text_model.{bare}.weight"):
        if name in shapes:
            return name
    return None


def misfit(found: Deltas, shapes: Shapes) -> str | None:
    """Explain why a LoRA does not fit a model's weights, as a sentence's end; None if it does."""
    for (part, module), delta in found.items():
        if part not in shapes:
            return f"it changes {part}, which that model does not have"
        name = weight_name(module, shapes[part])
        if name is None:
            return f"it changes {part}.{module}, which that model does not have"
        weight = shapes[part][name]
        if its := delta.misfit(weight):
            return (
                f"its {part}.{module} is for {its} numbers, "
                f"that model's has {weight[0]} × {prod(weight[1:])}"
            )
    return None


def file_misfit(file: Path, family: FamilySpec, configs: Configs, shapes: Shapes) -> str | None:
    """Explain a misfit as `misfit` does, from headers alone. Raises: ModelUnavailable."""
    layers = (configs.get("unet") or {}).get("layers_per_block")
    return misfit(_outlined(file, family, layers), shapes)


@cached_by_file(most=64)
def _outlined(path: Path, family: FamilySpec, layers: Any) -> Deltas:
    """A file's deltas without their numbers."""
    shapes = read_header(path).shapes
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    configs = {} if layers is None else {"unet": {"layers_per_block": layers}}
    return deltas(path, tensors, family, configs)
