"""LoRAs in a model's weights: added in place for a while, then taken out bit by bit as it was."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pipelines.catalog import read_header
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.families.base import Family, Model
from pipelines.families.supports import Configs
from pipelines.request.lora import State

log = logging.getLogger(__name__)

_READERS = {
    "sd": "StableDiffusionLoraLoaderMixin",
    "sdxl": "StableDiffusionXLLoraLoaderMixin",
    "sd3": "SD3LoraLoaderMixin",
    "flux": "FluxLoraLoaderMixin",
}
"""Family to the class of diffusers that knows the names in its LoRAs' files."""

_METADATA = "lora_adapter_metadata"
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
    """What a LoRA adds to one weight at scale 1: factor · up·down.

    Attributes:
        down: (r, in, …); up: (out, r) or (out, r, 1, 1).
    """

    down: Tensor
    up: Tensor
    factor: float


Deltas = Mapping[tuple[str, str], Delta]
"""(component, module) to what is added to that module's weight."""


@contextmanager
def applied(
    model: Model,
    family: Family,
    state: State,
    aside: Callable[[str, int], AbstractContextManager[None]] = lambda name, size: nullcontext(),
) -> Iterator[Model]:
    """The model with LoRAs in its weights; they are as before, to the bit, when the block ends.

    Nothing else may use the model's components meanwhile. What backends prepared of it is put
    aside, because it may hold copies of the weights.
    Args:
        aside: makes room for the originals, so many bytes of main memory.
    Raises: InvalidRequest, ModelUnavailable: if one of them does not fit.
        OutOfMemory: if there is no room for the originals.
    """
    if not state:
        yield model
        return
    started = time.perf_counter()
    weights = {
        name: dict(part.named_parameters())
        for name, part in model.components.items()
        if hasattr(part, "named_parameters")
    }
    shapes = {
        name: {key: tuple(value.shape) for key, value in of_part.items()}
        for name, of_part in weights.items()
    }
    changes: dict[tuple[str, str], list[tuple[float, Delta]]] = {}
    for lora in state:
        loaded = model.loras[lora.name]
        found = deltas(loaded.file, loaded.tensors, family.id, model.configs)
        why = misfit(found, shapes)
        if why is not None:
            raise InvalidRequest(f"LoRA {lora.name!r} does not fit {model.id!r}: {why}")
        for (part, module), delta in found.items():
            name = weight_name(module, shapes[part])
            assert name is not None, "it fits"
            changes.setdefault((part, name), []).append((lora.scale, delta))
    originals: list[tuple[Tensor, Tensor]] = []
    room = ExitStack()
    changed = sum(weights[part][name].nbytes for part, name in changes)
    room.enter_context(aside(f"originals under {state[0].name}", changed))
    try:
        with torch.no_grad():
            for (part, name), to_add in changes.items():
                weight = weights[part][name]
                # On the CPU, whatever the device: its memory is the one there is most of.
                originals.append((weight, weight.detach().to("cpu", copy=True)))
                weight.copy_(_sum(weight, to_add))
        log.info(
            "%s: applied LoRA %s to %d weights of %s; %.2f s", model.id,
            ", ".join(map(str, state)), len(changes),
            ", ".join(dict.fromkeys(part for part, _ in changes)), time.perf_counter() - started,
        )  # fmt: skip
        marks = [f"{model.loras[one.name].source} {one.scale!r}" for one in state]
        fingerprint = hashlib.sha256("\n".join([model.fingerprint, *marks]).encode()).hexdigest()
        yield replace(model, fingerprint=fingerprint, base=model.fingerprint, prepared={})
    finally:
        with torch.no_grad():
            for weight, original in originals:
                weight.copy_(original)
        originals.clear()
        room.close()


def _sum(weight: Tensor, to_add: Sequence[tuple[float, Delta]]) -> Tensor:
    """W + Σ scale · factor · up·down in float32, (out, in, …)."""
    total = weight.detach().to(torch.float32, copy=True)
    for scale, delta in to_add:
        up, down = (
            half.to(weight.device, torch.float32).flatten(1) for half in (delta.up, delta.down)
        )
        total += (scale * delta.factor) * (up @ down).view(total.shape)
    return total


def deltas(file: Path, tensors: Mapping[str, Tensor], family: str, configs: Configs) -> Deltas:
    """What a LoRA's file adds, by the names of diffusers' modules.

    Args:
        tensors: the file's.
        configs: of the model's components; kohya's names of SDXL's layers depend on them.
    Raises: ModelUnavailable: if it holds anything but pairs of halves.
    """
    said = read_header(file).get("__metadata__", {})
    metadata = json.loads(said.get(_METADATA, "{}"))
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
        rank = pair["down"].shape[0]
        alpha = alphas.get(f"{part}.{module}")
        factor = _factor(metadata, part, module, rank) if alpha is None else alpha / rank
        found[part, module] = Delta(pair["down"], pair["up"], factor)
    return found


def _converted(
    file: Path, tensors: Mapping[str, Tensor], family: str, configs: Configs
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Tensors by diffusers' names, and the alphas among them by module."""
    import diffusers.loaders

    if family not in _READERS:
        raise ModelUnavailable(f"no LoRA can change {family} models yet")
    reader: Any = getattr(diffusers.loaders, _READERS[family])
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


def _factor(metadata: Mapping[str, Any], part: str, module: str, rank: int) -> float:
    """alpha / r as peft's own settings in the file say it; 1 where there are none."""
    mine = {
        key.removeprefix(f"{part}."): value
        for key, value in metadata.items()
        if key.startswith(f"{part}.")
    }
    alpha = mine.get("lora_alpha")
    for pattern, value in (mine.get("alpha_pattern") or {}).items():
        if re.match(rf"(?:.*\.)?(?:{pattern})$", module):
            alpha = value
            break
    if alpha is None:
        return 1.0
    return float(alpha) / (rank**0.5 if mine.get("use_rslora") else rank)


def weight_name(module: str, shapes: Mapping[str, Any]) -> str | None:
    """What a module's weight is called in a component; None if it is not there.

    CLIP's encoders have `text_model.` before their names in some versions and files.
    """
    bare = module.removeprefix("text_model.")
    for name in (f"{module}.weight", f"{bare}.weight", f"text_model.{bare}.weight"):
        if name in shapes:
            return name
    return None


def misfit(found: Deltas, shapes: Shapes) -> str | None:
    """Why a LoRA does not fit a model's weights, as the end of a sentence; None if it does."""
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


def file_misfit(file: Path, family: str, configs: Configs, shapes: Shapes) -> str | None:
    """As `misfit`, from headers alone. Raises: ModelUnavailable: if it cannot be read."""
    stat = file.stat()
    layers = (configs.get("unet") or {}).get("layers_per_block")
    found = _outlined(file, stat.st_size, stat.st_mtime_ns, family, layers)
    return misfit(found, shapes)


@lru_cache(maxsize=64)
def _outlined(path: Path, size: int, changed: int, family: str, layers: Any) -> Deltas:
    """A file's deltas without their numbers. Size and time are only part of the key."""
    tensors = {
        # Alphas are read for their values; which, does not matter here.
        name: torch.empty(row["shape"], device="meta" if prod(row["shape"]) > 1 else "cpu").fill_(1)
        for name, row in read_header(path).items()
        if name != "__metadata__"
    }
    configs = {} if layers is None else {"unet": {"layers_per_block": layers}}
    return deltas(path, tensors, family, configs)
