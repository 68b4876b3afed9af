"""Model traits: derives a model's picture sizes, and what sets it apart in its family.

Functions for the rows of the registry. They load no torch, so that menus and checks need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.families.capabilities import Capabilities, Configs, Sizes

EMPTY_IS_ZEROS = "force_zeros_for_empty_prompt"
"""Entry of SDXL's `model_index.json`: no negative prompt is zeros, not an empty text."""
LCM_PIPELINE = "LatentConsistencyModelPipeline"
NATIVE = 128
"""Latents along a side of the picture size that diffusers defaults to; no config says it."""
DISTILLED = 3.5
"""What a network that was distilled with guidance is told if nobody says otherwise."""


def vae_factor(vae: Mapping[str, Any]) -> int:
    """Latent-to-pixel factor: pixels along a side that one latent stands for.

    Args:
        vae: its config.
    """
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def unet_sizes(configs: Configs) -> Sizes:
    """Derive the sizes of a U-Net, which must have latents left at its innermost level."""
    factor = vae_factor(configs["vae"])
    size = configs["unet"]["sample_size"]
    h, w = (size, size) if isinstance(size, int) else size
    least = factor * 2 ** (len(configs["unet"]["block_out_channels"]) - 1)
    most = max(2048, 2 * factor * max(h, w))
    return Sizes(native=(w * factor, h * factor), multiple=factor, least=least, most=most)


def embedded_sizes(configs: Configs) -> Sizes:
    """Derive the sizes of a transformer that has so many embeddings of positions."""
    factor, transformer = vae_factor(configs["vae"]), configs["transformer"]
    native = transformer["sample_size"] * factor
    multiple = transformer["patch_size"] * factor
    most = transformer["pos_embed_max_size"] * multiple
    return Sizes((native, native), multiple=multiple, least=multiple, most=most)


def packed_sizes(configs: Configs) -> Sizes:
    """Derive the sizes of a transformer with rotary positions and tokens of 2 × 2 latents."""
    factor = vae_factor(configs["vae"])
    side = NATIVE * factor
    return Sizes((side, side), multiple=2 * factor, least=2 * factor, most=2 * side)


def refine_unet(supports: Capabilities, configs: Configs) -> Capabilities:
    """Tell v-prediction and latent consistency, whose U-Net is told the guidance, from the rest."""
    scheduler = configs["scheduler"]
    if configs["unet"].get("time_cond_proj_dim") is None:
        v_prediction = scheduler.get("prediction_type") == "v_prediction"
        return replace(supports, kind="v-prediction") if v_prediction else supports
    samplers, most = supports.samplers, 1000
    if configs["model_index"].get("_class_name") == LCM_PIPELINE:
        # The one sampler that diffusers' pipeline of this name runs.
        samplers, most = ("lcm",), scheduler.get("original_inference_steps", 50)
    return replace(
        supports,
        kind="latent consistency",
        samplers=samplers,
        guidance="embedded",
        negative_prompt=False,
        steps=(1, most),
        suggested={"sampler": "lcm", "steps": 4, "guidance_scale": 8.0},
    )


def refine_sd3(supports: Capabilities, configs: Configs) -> Capabilities:
    """Count the blocks of the transformer, any of which guidance may skip."""
    return replace(supports, skip_layers=configs["transformer"]["num_layers"])


def refine_flux(supports: Capabilities, configs: Configs) -> Capabilities:
    """Tell dev, which is told a guidance, from schnell, which was distilled to few steps."""
    takes_guidance = configs["transformer"].get("guidance_embeds", False)
    return replace(
        supports,
        # Flow Heun takes neither the family's noise levels nor a shift by size.
        samplers=("flow_euler",),
        distilled_guidance=DISTILLED if takes_guidance else None,
        suggested={
            "sampler": "flow_euler",
            "steps": 28 if takes_guidance else 4,
            "guidance_scale": 1.0,
        },
    )
