"""Stable Diffusion 3 and 3.5: flow matching, two CLIP encoders and, if it is there, T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.denoising.row import Row
from pipelines.families import flow_matched, text_encoders
from pipelines.families.base import Model
from pipelines.families.capabilities import Configs
from pipelines.families.sd import stacked_inputs
from pipelines.families.traits import T5_TOKENS, StableDiffusion3Traits, vae_factor
from pipelines.request.request import Request


class _Network(nn.Module):
    """The transformer as a function of tensors: four, then what ControlNets add, one a block."""

    def __init__(self, transformer: nn.Module, skip: Sequence[int] = ()) -> None:
        super().__init__()
        self.transformer = transformer
        self.skip = list(skip) or None
        self.eval()

    def forward(
        self, x: Tensor, t: Tensor, states: Tensor, pooled: Tensor, *residuals: Tensor
    ) -> Tensor:
        output: Tensor = self.transformer(
            hidden_states=x,
            timestep=t,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            block_controlnet_hidden_states=residuals or None,
            return_dict=False,
            skip_layers=self.skip,
        )[0]
        return output


class StableDiffusion3(StableDiffusion3Traits):
    """SD 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206), skip-layer guidance included."""

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        if not configs["scheduler"].get("use_dynamic_shifting"):
            return {}
        assert request.width and request.height, "a cell's size is resolved before it is made"
        side = vae_factor(configs) * configs["transformer"]["patch_size"]
        tokens = (request.height // side) * (request.width // side)
        return {"mu": flow_matched.shift_of_size(tokens, configs["scheduler"], 1.16)}

    def latent_shape(self, model: Model, width: int, height: int) -> tuple[int, int, int]:
        factor = vae_factor(model.configs)
        return model.components["transformer"].config.in_channels, height // factor, width // factor

    def encode(self, model: Model, texts: Sequence[str]) -> list[Any]:
        """States of all encoders, (1, tokens, D), and both CLIP projections, (1, P₁ + P₂).

        The CLIP states stand side by side and are padded to T5's width; T5's follow. Without T5
        there are zeros in their place.
        """
        length = model.components["tokenizer"].model_max_length
        first, pooled = text_encoders.clip(model, "", texts)
        second, pooled_2 = text_encoders.clip(model, "_2", texts, length)
        both = torch.cat([first, second], dim=-1)
        if "text_encoder_3" in model.components:
            long = text_encoders.t5(model, "_3", texts, T5_TOKENS[self.id])
        else:
            width = model.components["transformer"].config.joint_attention_dim
            long = both.new_zeros(len(texts), T5_TOKENS[self.id], width)
        both = nn.functional.pad(both, (0, long.shape[-1] - both.shape[-1]))
        return text_encoders.pairs(
            torch.cat([both, long], dim=-2), torch.cat([pooled, pooled_2], dim=-1)
        )

    def without_negative(self, model: Model, empty: Any) -> Any:
        return empty

    def network(self, model: Model, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["transformer"], skip)

    def inputs(self, model: Model, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """x (rows, C, h, w), t (rows,), states (rows, tokens, D), pooled (rows, P)."""
        condition = text_encoders.stacked([row.condition for row in rows])
        return (*stacked_inputs(model, rows), *condition)

    def denoised(self, model: Model, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        return flow_matched.denoised(model, x, t, model_output)

    def decode(self, model: Model, latents: Tensor) -> Tensor:
        return flow_matched.decode(model, latents)
