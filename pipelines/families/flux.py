"""FLUX.1 family: flow matching on packed latents.

dev is distilled with guidance, schnell to few steps.

The engine sees latents as pictures, (1, C, h, w); the network packs them into tokens of 2 × 2 and
unpacks its output. Schedulers work number by number, so that nothing differs from walking packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.denoising.row import Condition, Row
from pipelines.families import text_encoders
from pipelines.families.base import LoadedModel
from pipelines.families.capabilities import Configs
from pipelines.families.flow_matched import FlowMatched, shift_of_size
from pipelines.families.sd import stacked_inputs
from pipelines.families.traits import DISTILLED, vae_factor
from pipelines.request.request import Request


def pack(x: Tensor, side: int = 2) -> Tensor:
    """Pack latents, (B, C, h, w), into tokens of side × side, (B, h·w/side², C·side²)."""
    b, c, h, w = x.shape
    parts = x.view(b, c, h // side, side, w // side, side).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(b, -1, c * side**2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Unpack tokens of 2 × 2 into latents, (B, C, h, w): the inverse of `pack`."""
    b, _, c = tokens.shape
    parts = tokens.view(b, height // 2, width // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(b, c // 4, height, width)


class _Network(nn.Module):
    """The transformer as a function of tensors: four, then the guidance where it is told that.

    Behind them comes what ControlNets add, one a block, those of single blocks last or left out.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.eval()

    def forward(
        self, x: Tensor, t: Tensor, states: Tensor, pooled: Tensor, *more: Tensor
    ) -> Tensor:
        told = int(self.transformer.config.guidance_embeds)
        guidance, residuals = more[:told], more[told:]
        double = len(self.transformer.transformer_blocks)
        output: Tensor = self.transformer(
            **named_inputs(x, t, states, pooled),
            guidance=guidance[0] if guidance else None,
            controlnet_block_samples=residuals[:double] or None,
            controlnet_single_block_samples=residuals[double:] or None,
            return_dict=False,
        )[0]
        return unpack(output, *x.shape[2:])


def named_inputs(x: Tensor, t: Tensor, states: Tensor, pooled: Tensor) -> dict[str, Tensor]:
    """Name the inputs that FLUX' transformer and its ControlNets have in common."""
    rows, columns = x.shape[2] // 2, x.shape[3] // 2
    places = torch.zeros(rows, columns, 3, dtype=x.dtype, device=x.device)
    places[..., 1] += torch.arange(rows, dtype=x.dtype, device=x.device)[:, None]
    places[..., 2] += torch.arange(columns, dtype=x.dtype, device=x.device)[None, :]
    return {
        "hidden_states": pack(x),
        "timestep": t.to(x.dtype) / 1000,
        "encoder_hidden_states": states,
        "pooled_projections": pooled,
        "txt_ids": torch.zeros(states.shape[1], 3, dtype=x.dtype, device=x.device),
        "img_ids": places.reshape(-1, 3),
    }


def distilled_scales(model: LoadedModel, rows: Sequence[Row]) -> Tensor:
    """Stack the distilled guidance of every row, (rows,) float32."""
    told = [DISTILLED if row.guidance is None else row.guidance for row in rows]
    return torch.tensor(told, dtype=torch.float32, device=model.device)


@dataclass(frozen=True, slots=True)
class Flux(FlowMatched):
    """FLUX.1 dev and schnell (Black Forest Labs 2024).

    `distilled_guidance` is what dev's network is told. `guidance_scale` is true classifier-free
    guidance; it acts where there is a negative prompt, at the price of a second row.
    """

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        assert request.width and request.height, "a cell's size is resolved before it is made"
        side = 2 * vae_factor(configs["vae"])
        tokens = (request.height // side) * (request.width // side)
        return {
            "sigmas": np.linspace(1.0, 1 / request.steps, request.steps),
            "mu": shift_of_size(tokens, configs["scheduler"], 1.15),
        }

    def latent_shape(self, model: LoadedModel, width: int, height: int) -> tuple[int, int, int]:
        factor = vae_factor(model.configs["vae"])
        channels = model.components["transformer"].config.in_channels // 4
        return channels, height // factor, width // factor

    def encode(
        self, model: LoadedModel, texts: Sequence[str], clip_skip: int = 0
    ) -> list[Condition]:
        """Encode texts as T5's states, (1, tokens, D), and CLIP's pooled embedding, (1, P)."""
        clip, t5 = self.spec.text_encoders
        pooled = text_encoders.clip_pooled(model, clip, texts)
        return text_encoders.split_conditions(text_encoders.t5(model, t5, texts), pooled)

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["transformer"])

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """x (rows, C, h, w), t (rows,), states, pooled; where the network is told it, guidance."""
        condition = text_encoders.stack_conditions([row.condition for row in rows])
        inputs = (*stacked_inputs(model, rows), *condition)
        if not model.components["transformer"].config.guidance_embeds:
            return inputs
        return (*inputs, distilled_scales(model, rows))
