"""LoRA patcher: adds LoRAs to a model's weights, then restores them bit by bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.checkpoints.lora_delta import AnyDelta
from pipelines.checkpoints.lora_state_dict import deltas, misfit, weight_name
from pipelines.errors import InvalidRequest
from pipelines.families.base import Family, LoadedModel
from pipelines.request.lora import LoRA, State
from pipelines.utils.digests import digest_of_lines

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A component and the name of one of its weights."""

Changes = Mapping[Key, Sequence[tuple[float, AnyDelta]]]
"""What is added to which weights: each LoRA's scale, and what it adds at scale 1."""


@contextmanager
def applied(
    model: LoadedModel,
    family: Family,
    state: State,
    reserve: Callable[[str, int], AbstractContextManager[None]] = lambda name, size: nullcontext(),
) -> Iterator[LoadedModel]:
    """Apply LoRAs to a model; its weights are as before, to the bit, when the block ends.

    Nothing else may use the model's components meanwhile. What backends prepared of it is put
    aside, because it may hold copies of the weights.

    Args:
        reserve: makes room for the originals, so many bytes of main memory.
    Raises: InvalidRequest, ModelUnavailable: if one of them does not fit.
        OutOfMemory: if there is no room for the originals.
    """
    if not state:
        yield model
        return
    started = time.perf_counter()
    weights = _weights(model)
    changes = changes_of(model, family, state)
    size = sum(weights[key].nbytes for key in changes)
    with reserve(f"originals under {state[0].name}", size), patched(weights, changes):
        log.info(
            "%s: applied LoRA %s to %d weights of %s; %.2f s", model.id,
            ", ".join(map(str, state)), len(changes),
            ", ".join(dict.fromkeys(part for part, _ in changes)), time.perf_counter() - started,
        )  # fmt: skip
        marks = [f"{model.loras[one.name].source}{_scales_mark(one)}" for one in state]
        fingerprint = digest_of_lines([model.fingerprint, *marks])
        yield replace(model, fingerprint=fingerprint, base=model.fingerprint, prepared={})


def changes_of(model: LoadedModel, family: Family, state: State) -> Changes:
    """Read what LoRAs add to which weights.

    Raises: InvalidRequest, ModelUnavailable: if one of them does not fit.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {name: {} for name in _modules(model)}
    for (part, name), weight in _weights(model).items():
        shapes[part][name] = tuple(weight.shape)
    changes: dict[Key, list[tuple[float, AnyDelta]]] = {}
    for lora in state:
        loaded = model.loras[lora.name]
        found = deltas(loaded.file, loaded.tensors, family.spec, model.configs)
        why = misfit(found, shapes)
        if why is not None:
            raise InvalidRequest(f"LoRA {lora.name!r} does not fit {model.id!r}: {why}")
        for (part, module), delta in found.items():
            weight_of = weight_name(module, shapes[part])
            assert weight_of is not None, "it fits"
            scale = lora.scale_in(part)
            if scale:
                changes.setdefault((part, weight_of), []).append((scale, delta))
    return changes


@contextmanager
def patched(weights: Mapping[Key, Tensor], changes: Changes) -> Iterator[None]:
    """Patch weights in place; they are restored to the bit when the block ends.

    The originals wait on the CPU, whatever the device: its memory is the one there is most of.
    """
    originals: dict[Key, Tensor] = {}
    try:
        with torch.no_grad():
            for key, to_add in changes.items():
                originals[key] = weights[key].detach().to("cpu", copy=True)
                weights[key].copy_(_sum(weights[key], to_add))
        yield
    finally:
        with torch.no_grad():
            for key, original in originals.items():
                weights[key].copy_(original)
        originals.clear()  # an error's traceback would keep them


def _scales_mark(lora: LoRA) -> str:
    apart = "" if lora.text_scale is None else f" text {lora.text_scale!r}"
    return f" {lora.scale!r}{apart}"


def _modules(model: LoadedModel) -> dict[str, torch.nn.Module]:
    return {n: part for n, part in model.components.items() if hasattr(part, "named_parameters")}


def _weights(model: LoadedModel) -> dict[Key, Tensor]:
    return {
        (part, name): weight
        for part, module in _modules(model).items()
        for name, weight in module.named_parameters()
    }


def _sum(weight: Tensor, to_add: Sequence[tuple[float, AnyDelta]]) -> Tensor:
    """W + Σ scale · ΔW in float32, (out, in, …)."""
    total = weight.detach().to(torch.float32, copy=True)
    for scale, delta in to_add:
        total += (scale * delta.factor) * delta.matrix(weight.device).view(total.shape)
    return total
