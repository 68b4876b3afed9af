"""VAE in memory: decodes latents at once, by picture or in tiles, as far as memory reaches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.denoising.oom_fallbacks import fallbacks
from pipelines.devices.hardware import free_memory
from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.devices.vae_memory import AT_ONCE, VaePlan, vae_plan
from pipelines.errors import OutOfMemory
from pipelines.families.base import Family, LoadedModel
from pipelines.families.traits import vae_factor

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Made = TypeVar("Made")


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
    return with_oom_fallbacks(
        vae, lambda: family.decode(model, latents), free_idle, len(latents), plan
    )


def with_oom_fallbacks(
    vae: Any,
    make: Callable[[], Made],
    free_idle: Callable[[], bool],
    pictures: int = 1,
    plan: VaePlan = AT_ONCE,
) -> Made:
    """Call a function that uses the VAE; out of memory, go down `fallbacks` one by one.

    Args:
        make: calls the VAE for some pictures.
        free_idle: frees what is not in use; whether that was anything.
        plan: how the VAE works at first.
    Returns: what `make` returns.
    Raises: OutOfMemory: if nothing that is left to do helps.
    """
    left = list(fallbacks("pictures", pictures))
    while True:
        try:
            with vae_mode(vae, plan):
                return make()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)
        if not left:
            raise OutOfMemory(f"the picture does not fit in memory, even in tiles: {said}")
        fallback = left.pop(0)
        if fallback == "free" and not free_idle():
            fallback = left.pop(0)
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
