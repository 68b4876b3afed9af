"""A toy family: one row, one class and one tiny model, as anyone would add a family.

It has what none of the shipped ones has: T5 alone, and a network whose output has the other sign.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from pipelines.denoising.row import Condition, Row, states_of
from pipelines.families import FamilySpec, TextEncoder, text_encoders
from pipelines.families.base import LoadedModel
from pipelines.families.capabilities import Configs
from pipelines.families.flow_matched import FlowMatched
from pipelines.families.sd import stacked_inputs
from pipelines.families.traits import packed_sizes, vae_factor
from pipelines.request.request import Request
from tests.helpers.tiny import vae
from tests.helpers.tiny_families import FLOW_VAE, t5_encoder, t5_tokenizer

TOY = FamilySpec(
    "toy",
    "Toy",
    pipelines=("ToyPipeline",),
    implementation=f"{__name__}:Toy",
    text_encoders=(TextEncoder(tokens=16),),
    kind="flow",
    latent_channels=4,
    sizes=packed_sizes,
    suggested={"sampler": "flow_heun", "steps": 3, "guidance_scale": 4.0},
    trained_in="bfloat16",
)


class _Network(nn.Module):
    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.eval()

    def forward(self, x: Tensor, t: Tensor, states: Tensor) -> Tensor:
        output: Tensor = self.transformer(
            x, encoder_hidden_states=states, timestep=1000 - t, return_dict=False
        )[0]
        return -output


@dataclass(frozen=True, slots=True)
class Toy(FlowMatched):
    """Its network counts time from noise to picture, and so predicts x_0 − noise."""

    def spacing(self, configs: Configs, request: Request) -> Mapping[str, Any]:
        return {}

    def latent_shape(self, model: LoadedModel, width: int, height: int) -> tuple[int, int, int]:
        factor = vae_factor(model.configs["vae"])
        return model.configs["transformer"]["in_channels"], height // factor, width // factor

    def encode(self, model: LoadedModel, texts: Sequence[str]) -> list[Condition]:
        (t5,) = self.spec.text_encoders
        return list(torch.split(text_encoders.t5(model, t5, texts), 1))

    def network(self, model: LoadedModel, skip: Sequence[int] = ()) -> nn.Module:
        return _Network(model.components["transformer"])

    def inputs(self, model: LoadedModel, rows: Sequence[Row]) -> tuple[Tensor, ...]:
        states = torch.cat([states_of(row.condition) for row in rows])
        return (*stacked_inputs(model, rows), states)


def save_toy(folder: Path) -> dict[str, Any]:
    """A toy model with random weights as a diffusers folder; returns its components."""
    torch.manual_seed(8)
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1,
        attention_head_dim=8, num_attention_heads=4, cross_attention_dim=32, caption_channels=32,
        norm_type="ada_norm_single", norm_elementwise_affine=False, use_additional_conditions=False,
    )  # fmt: skip
    # Random weights hardly look at the text: a wrong one would not be seen.
    transformer.transformer_blocks[0].attn2.to_out[0].weight.data *= 30
    parts: dict[str, Any] = {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5_encoder(),
        "transformer": transformer.eval(),
        "vae": vae(**FLOW_VAE),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    index: dict[str, Any] = {"_class_name": "ToyPipeline"}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
        index[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return parts
