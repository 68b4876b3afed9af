"""U-Net ControlNet adapters: run copies of its encoder, whose outputs are added to its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipelines.controlnet.embedded_maps import map_pixels, with_parts
from pipelines.denoising.row import Row
from pipelines.families.base import Family, LoadedModel
from pipelines.families.capabilities import Configs
from pipelines.families.traits import vae_factor
from pipelines.request.control import MODES

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class UNetControls:
    """ControlNets of Stable Diffusion (Zhang et al. 2023, arXiv:2302.05543)."""

    family: Family

    classes = ("ControlNetModel",)
    modes = MODES
    prompted = False

    def misfit(self, configs: Configs, config: Mapping[str, Any]) -> str | None:
        unet = configs["unet"]
        facts = [
            ("text width (cross_attention_dim)", "cross_attention_dim"),
            ("kind of extra input (addition_embed_type)", "addition_embed_type"),
            ("latent channels (in_channels)", "in_channels"),
            ("widths (block_out_channels)", "block_out_channels"),
            ("layers_per_block", "layers_per_block"),
        ]
        for said, key in facts:
            ours, theirs = _plain(unet.get(key)), _plain(config.get(key))
            if ours != theirs:
                return f"its {said} is {theirs}, the model's {ours}"
        if config.get("conditioning_channels", 3) != 3:
            return f"it takes maps of {config['conditioning_channels']} channels, ours have 3"
        shrink = 2 ** (len(config.get("conditioning_embedding_out_channels") or ()) - 1)
        factor = vae_factor(configs["vae"])
        if shrink != factor:
            return f"it makes maps {shrink} times smaller, the model's latents are {factor} times"
        return None

    def pools_globally(self, net: Any) -> bool:
        return bool(net.config.global_pool_conditions)

    def takes_guidance(self, net: Any) -> bool:
        return False

    def embed_map(self, model: LoadedModel, net: Any, image: Image) -> Tensor:
        """Embed a map as the ControlNet's first layers do, (1, C, h, w)."""
        pixels = map_pixels(model, image)
        with torch.inference_mode():
            embedding: Tensor = net.controlnet_cond_embedding(_ordered(net, pixels))
        return embedding

    def residuals(
        self, model: LoadedModel, net: Any, rows: Sequence[Row], embeddings: Tensor
    ) -> tuple[Tensor, ...]:
        x, t, text, more = self._inputs(model, rows)
        down, middle = with_parts(net, controlnet_cond_embedding=nn.Identity())(
            x, t, encoder_hidden_states=text, controlnet_cond=_ordered(net, embeddings),
            return_dict=False, **more,
        )  # fmt: skip
        return (*down, middle)

    def _inputs(
        self, model: LoadedModel, rows: Sequence[Row]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
        """x, t, text, and what else a ControlNet of this kind of model is told, by name."""
        # A ControlNet is not told the guidance, also where its model is.
        x, t, text = self.family.inputs(model, rows)[:3]
        return x, t, text, {}


def _ordered(net: Any, channels: Tensor) -> Tensor:
    """Channels reversed where the ControlNet's forward reverses them before it embeds.

    It does so with what it is given, so an embedding is reversed beforehand, and stays.
    """
    bgr = net.config.controlnet_conditioning_channel_order == "bgr"
    return channels.flip(1) if bgr else channels


def _plain(value: Any) -> Any:
    """A config's value as JSON has it, so that a tuple equals a list."""
    return list(value) if isinstance(value, tuple) else value


class XLControls(UNetControls):
    """ControlNets of SDXL."""

    def _inputs(
        self, model: LoadedModel, rows: Sequence[Row]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
        x, t, text, pooled, time_ids = self.family.inputs(model, rows)[:5]
        return x, t, text, {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids}}
