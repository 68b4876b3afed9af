"""LoRA patcher: adds LoRAs to a model's weights, then restores them bit by bit."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.checkpoints.lora_state_dict import (
    Delta,
    deltas,
    misfit,
    weight_name,
)
from pipelines.errors import InvalidRequest
from pipelines.families.base import Family, Model
from pipelines.request.lora import State

log = logging.getLogger(__name__)


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
        found = deltas(loaded.file, loaded.tensors, family.spec, model.configs)
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
