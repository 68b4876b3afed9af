"""Stable Diffusion 1.x and 2.x family: epsilon and v prediction, one CLIP text encoder.

Latent consistency models (Luo et al. 2023, arXiv:2310.04378) are the same with one more input:
their UNet is told the guidance scale, so that a cell needs no second row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.denoising.row import Condition, Row, states_of
from pipelines.families.base import LoadedModel, decode_latents
from pipelines.families.capabilities import Configs
from pipelines.families.encoder_layers import final_layer
from pipelines.families.spec import FamilySpec
from pipelines.families.traits import vae_factor
from pipelines.request.request import Request
from pipelines.samplers.noise_table import log_snr


def added_inputs(unet: Any, more: Sequence[Tensor]) -> dict[str, Any]:
    """Name a U-Net's further inputs: the guidance where it is told that, and residuals.

    Args:
        more: the guidance's embedding, if any, then what ControlNets add, innermost last.
    """
    told = int(unet.config.time_cond_proj_dim is not None)
    guidance, residuals = more[:told], more[told:]
    added: dict[str, Any] = {"timestep_cond": guidance[0]} if guidance else {}
    if residuals:
        added["down_block_additional_residuals"] = residuals[:-1]
        added["mid_block_additional_residual"] = residuals[-1]
    return added


class _Network(nn.Module):
    """The U-Net as a function of tensors: three, then what `added_inputs` names."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.eval()

    def forward(self, x: Tensor, t: Tensor, condition: Tensor, *more: Tensor) -> Tensor:
        output: Tensor = self.unet(
            x,
            t,
            encoder_hidden_states=condition,
            return_dict=False,
            **added_inputs(self.unet, more),
        )[0]
        return output


@dataclass(frozen=True, slots=True)
class StableDiffusion:
    """SD 1.x/2.x (Rombach et al. 2022, arXiv:2112.10752)."""

    spec: FamilySpec

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        return {}

    def latent_shape(self, model: LoadedModel, width: int, height: int) -> tuple[int, int, int]:
        factor = vae_factor(model.configs["vae"])
        return model.components["unet"].config.in_channels, height // factor, width // factor

    def encode(
        self, model: LoadedModel, texts: Sequence[str], clip_skip: int = 0
    ) -> list[Condition]:
        """Encode texts as CLIP's states, (1, tokens, D) each, as diffusers computes them."""
        tokenizer, encoder = model.components["tokenizer"], model.components["text_encoder"]
        tokens = tokenizer(
            list(texts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        layer = final_layer(clip_skip)
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = tokens.attention_mask.to(model.device)
        with torch.inference_mode():
            output = encoder(
                tokens.input_ids.to(model.device),
                attention_mask=mask,
                output_hidden_states=layer.inner,
            )
            states = layer.states(encoder, output)
        return list(torch.split(states.to(model.dtype), 1))

    def without_negative(self, model: LoadedModel, empty: Condition) -> Condition:
        return empty

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["unet"])

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        """x (rows, C, h, w), t (rows,) float32, text embeddings (rows, tokens, D).

        Where the UNet is told the guidance: its embedding, (rows, D), as well.
        """
        condition = torch.cat([states_of(row.condition) for row in rows])
        return (*stacked_inputs(model, rows), condition, *scale_embeddings(model, rows))

    def denoised(self, model: LoadedModel, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        """Predict the clean latents that the network sees behind its input.

        Math: epsilon: (x − √(1−ᾱ)·ε)/√ᾱ;  v: √ᾱ·x − √(1−ᾱ)·v;  sample: the output itself.
            The network's input is x_t = √ᾱ·x_0 + √(1−ᾱ)·ε under every sampler, because
            `scale_model_input` brings the others to it; ᾱ between two timesteps is
            interpolated in log-SNR.
        Source: Ho et al. 2020, arXiv:2006.11239; v: Salimans & Ho 2022, arXiv:2202.00512.
        """
        config = model.configs["scheduler"]
        kind = config.get("prediction_type", "epsilon")
        if kind == "sample":
            return model_output
        table = log_snr(config)
        position = min(max(float(t), 0.0), len(table) - 1.0)
        low = min(int(position), len(table) - 2)
        value = torch.lerp(table[low], table[low + 1], position - low)
        alpha, sigma = float(value.sigmoid().sqrt()), float((-value).sigmoid().sqrt())
        if kind == "v_prediction":
            return alpha * x - sigma * model_output
        return (x - sigma * model_output) / alpha

    def decode(self, model: LoadedModel, latents: Tensor) -> Tensor:
        return decode_latents(model, latents)


def stacked_inputs(model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Stack the latents and timesteps of rows: x (rows, C, h, w) and t (rows,) float32."""
    x = torch.cat([row.x for row in rows])
    return x, torch.stack([row.t.to(torch.float32) for row in rows]).to(model.device)


def scale_embeddings(model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
    """Embed the guidance of every row, (rows, D), where the U-Net takes it; else nothing."""
    size = model.components["unet"].config.time_cond_proj_dim
    if size is None:
        return ()
    scales = torch.tensor([1.0 if row.guidance is None else row.guidance for row in rows])
    return (guidance_embedding(scales - 1.0, size).to(model.device, model.dtype),)


def guidance_embedding(w: Tensor, size: int) -> Tensor:
    """Embed guidance weights as sines and cosines, (rows, size).

    Math: [sin(1000·w·f), cos(1000·w·f)], f_i = 10000^(−i/(size/2 − 1)); w = guidance_scale − 1.
    Source: Luo et al. 2023, arXiv:2310.04378; as diffusers' `get_guidance_scale_embedding`.
    """
    half = size // 2
    rate = torch.log(torch.tensor(10000.0)) / (half - 1)
    angles = (w * 1000.0)[:, None] * torch.exp(torch.arange(half, dtype=torch.float32) * -rate)
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, size % 2))
