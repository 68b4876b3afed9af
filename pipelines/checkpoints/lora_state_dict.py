"""LoRA state dict: reads a file's low-rank matrices and fits them to a model's layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from pipelines.checkpoints.adapter_metadata import alpha_over_rank, read_settings
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.errors import ModelUnavailable
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs
from pipelines.utils.file_cache import cached_by_file

_HALF = re.compile(
    r"\.(?:lora\.|lora_linear_layer\.)?(lora_A|lora_B|down|up)(?:\.default)?\.weight$"
)
_ALPHA = re.compile(
    r"(?:\.(?:lora\.|lora_linear_layer\.)?(?:lora_A|down)(?:\.weight)?)?(?:\.weight)?\.alpha$"
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
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Component to its weights' names and shapes."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Low-rank delta: holds what a LoRA adds to one weight at scale 1.

    Math: ΔW = factor · up·down

    Attributes:
        down: (r, in, …); up: (out, r) or (out, r, 1, 1).
    """

    down: Tensor
    up: Tensor
    factor: float


Deltas = Mapping[tuple[str, str], Delta]
"""(component, module) to what is added to that module's weight."""


def deltas(
    file: Path, tensors: Mapping[str, Tensor], family: FamilySpec, configs: Configs
) -> Deltas:
    """Read what a LoRA's file adds, by the names of diffusers' modules.

    Args:
        tensors: the file's.
        configs: of the model's components; kohya's names of SDXL's layers depend on them.
    Raises: ModelUnavailable: if it holds anything but pairs of halves.
    """
    settings = read_settings(file, read_header(file))
    converted, alphas = _converted(file, tensors, family, configs)
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, tensor in converted.items():
        match = _HALF.search(_renamed(key))
        if match is None:
            raise ModelUnavailable(
                f"{file} is no plain LoRA: {key!r} is none of its halves; "
                "DoRA, LoCon with biases and LyCORIS are not supported"
            )
        part, _, module = _renamed(key)[: match.start()].partition(".")
        half = "down" if match[1] in ("lora_A", "down") else "up"
        halves.setdefault((part, module), {})[half] = tensor
    found = {}
    for (part, module), pair in halves.items():
        if len(pair) != 2:
            raise ModelUnavailable(f"{file} is damaged: {part}.{module} has one half only")
        rank = pair["down"].shape[0] if pair["down"].dim() else 0
        alpha = alphas.get(f"{part}.{module}")
        if rank == 0 or (alpha is not None and not isfinite(alpha)):
            raise ModelUnavailable(f"{file} is damaged: {part}.{module} has no rank or no alpha")
        factor = alpha_over_rank(settings, part, module, rank) if alpha is None else alpha / rank
        found[part, module] = Delta(pair["down"], pair["up"], factor)
    return found


def _converted(
    file: Path, tensors: Mapping[str, Tensor], family: FamilySpec, configs: Configs
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Tensors by diffusers' names, and the alphas among them by module."""
    import diffusers.loaders

    if family.lora_loader is None:
        raise ModelUnavailable(f"no LoRA can change {family.id} models yet")
    reader: Any = getattr(diffusers.loaders, family.lora_loader)
    options: dict[str, Any] = {}
    if "unet" in configs:
        options["unet_config"] = SimpleNamespace(**configs["unet"])
    if any("dora_scale" in name for name in tensors):
        raise ModelUnavailable(f"{file} is a DoRA, which is not supported")
    try:
        found = reader.lora_state_dict(dict(tensors), return_alphas=True, **options)
    except Exception as error:  # whatever the library raises, this file cannot be used
        raise ModelUnavailable(f"{file} cannot be read as a LoRA: {error}") from error
    state, alphas = found[:2] if isinstance(found, tuple) else (found, None)
    named = {_ALPHA.sub("", _renamed(key)): float(value) for key, value in (alphas or {}).items()}
    return state, named


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
        weight, up, down = shapes[part][name], tuple(delta.up.shape), tuple(delta.down.shape)
        fits = (
            min(len(up), len(down), len(weight)) >= 2
            and (up[0], down[1]) == weight[:2]
            and prod(up[1:]) == down[0]
            and prod(down[1:]) == prod(weight[1:])
        )
        if not fits:
            return (
                f"its {part}.{module} is for {up[0]} × {prod(down[1:])} numbers, "
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
    tensors: dict[str, Tensor] = {name: outline(shape) for name, shape in shapes.items()}
    configs = {} if layers is None else {"unet": {"layers_per_block": layers}}
    return deltas(path, tensors, family, configs)
