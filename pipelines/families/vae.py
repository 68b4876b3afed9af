"""VAE in memory: decodes latents at once, by picture or in tiles, as far as memory reaches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from pipelines.denoising.oom_fallbacks import fallbacks
from pipelines.devices.hardware import free_memory
from pipelines.devices.out_of_memory import MORE, is_out_of_memory
from pipelines.devices.vae_memory import AT_ONCE, VaePlan, vae_plan
from pipelines.errors import OutOfMemory
from pipelines.families.base import Family, LoadedModel
from pipelines.families.traits import vae_factor

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Made = TypeVar("Made")

_NEEDED: WeakKeyDictionary[Any, dict[tuple[int, int, int], tuple[VaePlan, int]]] = (
    WeakKeyDictionary()
)
"""How VAEs had to work for (pictures, height, width), and the bytes that were free then."""


def decode(
    family: Family, model: LoadedModel, latents: Tensor, free_idle: Callable[[], bool]
) -> Tensor:
    """Decode latents into pictures. Args, Raises: as `with_oom_fallbacks`."""
    vae = model.components["vae"]
    channels = vae.config.block_out_channels
    factor = vae_factor(vae.config)
    height, width = (int(side) * factor for side in latents.shape[2:])
    free = free_memory(model.device)
    item = vae.dtype.itemsize
    plan = vae_plan(len(latents), width, height, channels, item, free)
    needed = _NEEDED.setdefault(vae, {})
    size = len(latents), height, width
    known, then = needed.get(size, (plan, 0))
    if free <= MORE * then:
        plan = known

    def found(plan: VaePlan) -> None:
        needed[size] = (plan, free)

    return with_oom_fallbacks(
        vae, lambda: family.decode(model, latents), free_idle, len(latents), plan, found
    )


def with_oom_fallbacks(
    vae: Any,
    make: Callable[[], Made],
    free_idle: Callable[[], bool],
    pictures: int = 1,
    plan: VaePlan = AT_ONCE,
    found: Callable[[VaePlan], None] = lambda plan: None,
) -> Made:
    """Call a function that uses the VAE; out of memory, go down `fallbacks` one by one.

    Args:
        make: calls the VAE for some pictures.
        free_idle: frees what is not in use; whether that was anything.
        plan: how the VAE works at first.
        found: told how it had to work, where that was another way.
    Returns: what `make` returns.
    Raises: OutOfMemory: if nothing that is left to do helps.
    """
    left = list(fallbacks("pictures", pictures))
    first = plan
    while True:
        try:
            with vae_mode(vae, plan):
                made = make()
            if plan != first:
                found(plan)
            return made
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)
        if not left:
            raise OutOfMemory(f"the picture does not fit in memory, even in tiles: {said}")
        fallback = left.pop(0)
        if fallback == "free":
            free_idle()
        log.warning("out of memory in the VAE; trying again: %s", fallback)
        plan = VaePlan(plan.slicing or fallback == "slice", plan.tiling or fallback == "tile")


@contextmanager
def vae_mode(vae: Any, plan: VaePlan) -> Iterator[None]:
    """Slice or tile inside the block only: another picture must not have seams for this one."""
    if plan.slicing:
        vae.enable_slicing()
    if plan.tiling:
        vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_slicing()
        vae.disable_tiling()
