"""Stable Diffusion XL family, with what was distilled from it: Turbo, Lightning, LCM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.denoising.row import Condition, Row
from pipelines.families import text_encoders
from pipelines.families.base import LoadedModel, decode_latents
from pipelines.families.sd import StableDiffusion, added_inputs, scale_embeddings, stacked_inputs
from pipelines.families.traits import EMPTY_IS_ZEROS, vae_factor


class _Network(nn.Module):
    """The U-Net as a function of tensors: five, then what `added_inputs` names."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.eval()

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        states: Tensor,
        pooled: Tensor,
        time_ids: Tensor,
        *more: Tensor,
    ) -> Tensor:
        output: Tensor = self.unet(
            x,
            t,
            encoder_hidden_states=states,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids},
            return_dict=False,
            **added_inputs(self.unet, more),
        )[0]
        return output


@dataclass(frozen=True, slots=True)
class StableDiffusionXL(StableDiffusion):
    """SDXL (Podell et al. 2023, arXiv:2307.01952)."""

    def encode(
        self, model: LoadedModel, texts: Sequence[str], clip_skip: int = 0
    ) -> list[Condition]:
        """Encode texts as both encoders' states, (1, tokens, D₁ + D₂), and a projection, (1, P)."""
        clip, clip_2 = self.spec.text_encoders
        first, _ = text_encoders.clip(model, clip, texts, clip_skip=clip_skip)
        second, pooled = text_encoders.clip(model, clip_2, texts, clip_skip=clip_skip)
        return text_encoders.split_conditions(torch.cat([first, second], dim=-1), pooled)

    def without_negative(self, model: LoadedModel, empty: Condition) -> Condition:
        """Zeros where the checkpoint was trained with them, as diffusers takes for no text.

        A negative prompt that is there is encoded; so is an empty prompt.
        """
        if not model.configs["model_index"].get(EMPTY_IS_ZEROS, True):
            return empty
        states, pooled = empty
        return torch.zeros_like(states), torch.zeros_like(pooled)

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["unet"])

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """x, t, states, pooled embeddings, and the six numbers of the picture's size, (rows, 6).

        Those say that the picture was neither scaled nor cropped: its size, no offset, its size.
        """
        x, t = stacked_inputs(model, rows)
        states, pooled = text_encoders.stack_conditions([row.condition for row in rows])
        factor = vae_factor(model.configs["vae"])
        size = [x.shape[2] * factor, x.shape[3] * factor]
        numbers = torch.tensor([*size, 0, 0, *size], dtype=model.dtype, device=model.device)
        time_ids = numbers.expand(len(rows), -1)
        return x, t, states, pooled, time_ids, *scale_embeddings(model, rows)

    def decode(self, model: LoadedModel, latents: Tensor) -> Tensor:
        return decode_latents(model, latents, ("latents_mean", "latents_std"))
