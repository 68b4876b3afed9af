"""Stable Diffusion 3 family: flow matching, two CLIP encoders and, if it is there, T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.denoising.row import Condition, Row
from pipelines.families import text_encoders
from pipelines.families.base import LoadedModel
from pipelines.families.capabilities import Configs
from pipelines.families.flow_matched import FlowMatched, shift_of_size
from pipelines.families.sd import stacked_inputs
from pipelines.families.traits import vae_factor
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


@dataclass(frozen=True, slots=True)
class StableDiffusion3(FlowMatched):
    """SD 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206), skip-layer guidance included."""

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        if not configs["scheduler"].get("use_dynamic_shifting"):
            return {}
        assert request.width and request.height, "a cell's size is resolved before it is made"
        side = vae_factor(configs["vae"]) * configs["transformer"]["patch_size"]
        tokens = (request.height // side) * (request.width // side)
        return {"mu": shift_of_size(tokens, configs["scheduler"], 1.16)}

    def latent_shape(self, model: LoadedModel, width: int, height: int) -> tuple[int, int, int]:
        factor = vae_factor(model.configs["vae"])
        return model.components["transformer"].config.in_channels, height // factor, width // factor

    def encode(
        self, model: LoadedModel, texts: Sequence[str], clip_skip: int = 0
    ) -> list[Condition]:
        """Encode texts as all encoders' states, (1, tokens, D), and both projections, (1, P₁ + P₂).

        The CLIP states stand side by side and are padded to T5's width; T5's follow. Without T5
        there are zeros in their place.
        """
        clip, clip_2, t5 = self.spec.text_encoders
        length = model.components[clip.tokenizer].model_max_length
        first, pooled = text_encoders.clip(model, clip, texts, clip_skip=clip_skip)
        second, pooled_2 = text_encoders.clip(model, clip_2, texts, length, clip_skip)
        both = torch.cat([first, second], dim=-1)
        if t5.encoder in model.components:
            long = text_encoders.t5(model, t5, texts)
        else:
            width = model.components["transformer"].config.joint_attention_dim
            assert t5.tokens is not None, "its row says it"
            long = both.new_zeros(len(texts), t5.tokens, width)
        both = nn.functional.pad(both, (0, long.shape[-1] - both.shape[-1]))
        return text_encoders.split_conditions(
            torch.cat([both, long], dim=-2), torch.cat([pooled, pooled_2], dim=-1)
        )

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["transformer"], skip)

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """x (rows, C, h, w), t (rows,), states (rows, tokens, D), pooled (rows, P)."""
        condition = text_encoders.stack_conditions([row.condition for row in rows])
        return (*stacked_inputs(model, rows), *condition)
