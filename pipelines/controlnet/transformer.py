"""Transformer ControlNet adapters: run those of SD 3 and FLUX, which add to blocks' hidden states.

They see a map through the model's own VAE. diffusers' pipelines draw the map's latents from the
VAE's distribution, FLUX' with the generator that makes the picture's noise next, SD 3's with
nobody's. Here they are its mean: the map of a picture is the same for every seed, and a cell's
noise the same with a control as without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipelines.controlnet.embedded_maps import map_pixels, with_parts
from pipelines.denoising.row import Row
from pipelines.errors import InvalidRequest
from pipelines.families.base import Family, LoadedModel
from pipelines.families.capabilities import Configs
from pipelines.families.flux import distilled_scales, named_inputs, pack
from pipelines.families.traits import vae_factor

if TYPE_CHECKING:
    from PIL.Image import Image

HINT_BLOCK_SHRINKS = 8
"""How many times smaller diffusers' `input_hint_block` makes a map along a side."""


@dataclass(frozen=True)
class _FlowControls:
    """What ControlNets of flow-matching transformers share."""

    family: Family

    # Guess mode weighs a U-Net's depths; diffusers' pipelines of these families have none.
    modes = ("balanced",)

    def pools_globally(self, net: Any) -> bool:
        return False


class SD3Controls(_FlowControls):
    """ControlNets of SD 3 and 3.5, as in diffusers' StableDiffusion3ControlNetPipeline.

    `force_zeros_for_pooled_projection` in a ControlNet's config means that it is told no pooled
    text and that its maps are not shifted. There the first of several decides for all; here each
    decides for itself.
    """

    classes = ("SD3ControlNetModel",)
    prompted = False

    def misfit(self, configs: Configs, config: Mapping[str, Any]) -> str | None:
        transformer = configs["transformer"]
        why = _unlike(
            transformer,
            config,
            ("latent channels (in_channels)", "in_channels"),
            ("patch_size", "patch_size"),
            ("width of pooled texts (pooled_projection_dim)", "pooled_projection_dim"),
            *_text_width(config),
        )
        more = config.get("extra_conditioning_channels", 0)
        if why is None and more:
            return f"it takes {more} more channels than a map has, as for inpainting"
        return why

    def takes_guidance(self, net: Any) -> bool:
        return False

    def embed_map(self, model: LoadedModel, net: Any, image: Image) -> Tensor:
        """Embed a map's latents as the ControlNet's patches, (1, tokens, D)."""
        config = net.config
        with torch.inference_mode():
            shift = 0.0 if config.force_zeros_for_pooled_projection else None
            latents = _latents(model, _pixels(model, image), shift)
            side = max(latents.shape[-2:]) // config.patch_size
            if net.pos_embed is not None and side > config.pos_embed_max_size:
                factor = vae_factor(model.configs["vae"]) * config.patch_size
                raise InvalidRequest(
                    f"the picture has {image.width} × {image.height} pixels; its ControlNet takes "
                    f"at most {config.pos_embed_max_size * factor} along a side"
                )
            embedding: Tensor = net.pos_embed_input(latents)
        return embedding

    def residuals(
        self, model: LoadedModel, net: Any, rows: Sequence[Row], embeddings: Tensor
    ) -> tuple[Tensor, ...]:
        transformer = model.components["transformer"]
        x, t, states, pooled = self.family.inputs(model, rows)
        config = net.config
        samples = with_parts(net, pos_embed_input=nn.Identity())(
            # Those for SD 3.5 Large have no embedding of their own.
            hidden_states=x if net.pos_embed is not None else transformer.pos_embed(x),
            timestep=t,
            encoder_hidden_states=None if config.joint_attention_dim is None else states,
            pooled_projections=(
                torch.zeros_like(pooled) if config.force_zeros_for_pooled_projection else pooled
            ),
            controlnet_cond=embeddings,
            return_dict=False,
        )[0]
        blocks = len(transformer.transformer_blocks)
        each = blocks / len(samples)
        return tuple(samples[int(block / each)] for block in range(blocks))


class FluxControls(_FlowControls):
    """ControlNets of FLUX.1, as in diffusers' FluxControlNetPipeline.

    InstantX' and Shakker's see the map's latents, XLabs' its pixels. No union ControlNets.

    Under true guidance the row without the prompt gets what was computed with it.
    """

    classes = ("FluxControlNetModel",)
    prompted = True

    def misfit(self, configs: Configs, config: Mapping[str, Any]) -> str | None:
        transformer = configs["transformer"]
        if config.get("num_mode") is not None:
            return (
                "it is a union ControlNet, which must be told the kind of each map (num_mode); "
                "those are not supported, union ControlNets without num_mode are"
            )
        if not config.get("num_layers"):
            return "it has no double blocks (num_layers)"
        why = _unlike(
            transformer,
            config,
            ("channels of a token (in_channels)", "in_channels"),
            ("width of pooled texts (pooled_projection_dim)", "pooled_projection_dim"),
            *_text_width(config),
        )
        channels = config.get("conditioning_embedding_channels")
        if why is not None or channels is None:
            return why
        patch = config.get("patch_size", 1)
        ours, theirs = 2 * vae_factor(configs["vae"]), HINT_BLOCK_SHRINKS * patch
        if (ours, transformer["in_channels"]) != (theirs, channels * patch**2):
            return (
                f"its tokens stand for {theirs} pixels along a side in {channels * patch**2} "
                f"channels, the model's for {ours} in {transformer['in_channels']}"
            )
        return None

    def takes_guidance(self, net: Any) -> bool:
        return bool(net.config.guidance_embeds)

    def embed_map(self, model: LoadedModel, net: Any, image: Image) -> Tensor:
        """Embed a map as the ControlNet's tokens, (1, tokens, D)."""
        pixels = _pixels(model, image)
        with torch.inference_mode():
            if net.input_hint_block is None:
                tokens = pack(_latents(model, pixels, None))
            else:
                tokens = pack(net.input_hint_block(pixels), net.config.patch_size)
            embedding: Tensor = net.controlnet_x_embedder(tokens)
        return embedding

    def residuals(
        self, model: LoadedModel, net: Any, rows: Sequence[Row], embeddings: Tensor
    ) -> tuple[Tensor, ...]:
        transformer = model.components["transformer"]
        x, t, states, pooled = self.family.inputs(model, rows)[:4]
        double, single = with_parts(
            net, controlnet_x_embedder=nn.Identity(), input_hint_block=None
        )(
            **named_inputs(x, t, states, pooled),
            guidance=distilled_scales(model, rows) if self.takes_guidance(net) else None,
            controlnet_cond=embeddings,
            return_dict=False,
        )
        repeated = net.input_hint_block is not None
        first = _spread(double, len(transformer.transformer_blocks), repeated)
        blocks = len(transformer.single_transformer_blocks)
        return (*first, *(_spread(single, blocks, False) if single else ()))


def _spread(samples: Sequence[Tensor], blocks: int, repeated: bool) -> list[Tensor]:
    """A ControlNet's outputs, one a block of a transformer that has others in number.

    Args:
        repeated: they come again and again; else each stays for some blocks in a row.
    """
    if repeated:
        return [samples[block % len(samples)] for block in range(blocks)]
    each = -(-blocks // len(samples))
    return [samples[block // each] for block in range(blocks)]


def _unlike(
    model: Mapping[str, Any], config: Mapping[str, Any], *facts: tuple[str, str]
) -> str | None:
    """The first of some facts in which a ControlNet's config is not like the transformer's."""
    width, theirs = (
        one["num_attention_heads"] * one["attention_head_dim"] for one in (model, config)
    )
    if width != theirs:
        return f"its width is {theirs}, the model's {width}"
    for said, key in facts:
        if config.get(key) != model.get(key):
            return f"its {said} is {config.get(key)}, the model's {model.get(key)}"
    return None


def _text_width(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As a fact to compare; nothing for a ControlNet that sees no text."""
    key = "joint_attention_dim"
    return [] if config.get(key) is None else [(f"text width ({key})", key)]


def _pixels(model: LoadedModel, image: Image) -> Tensor:
    """A map's pixels as a VAE takes them, −1..1, (1, 3, H, W)."""
    return 2.0 * map_pixels(model, image) - 1.0


def _latents(model: LoadedModel, pixels: Tensor, shift: float | None) -> Tensor:
    """A map's latents, (1, C, h, w): the mean of what the VAE makes of it.

    Args:
        shift: is taken off; None = the VAE's own.
    """
    vae = model.components["vae"]
    if shift is None:
        shift = vae.config.shift_factor or 0.0
    # On cards without bfloat16 the VAE computes in float32, the ControlNet in float16.
    mean: Tensor = vae.encode(pixels.to(vae.dtype)).latent_dist.mode()
    latents: Tensor = (mean - shift) * vae.config.scaling_factor
    return latents.to(model.dtype)
