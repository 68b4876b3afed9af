"""Parts of a `StableDiffusion3Pipeline` around a small transformer, from the shipped model.

That pipeline reads the last but one state of two CLIP towers, puts them side by side, and appends
256 states of a third encoder (T5), without any of which `from_pretrained` refuses a folder. So here
- the first tower is the shipped one with a layer more that changes nothing: its last but one state
  is the shipped tower's last, before the closing norm;
- the second tower and the T5 are silent: a few channels and tokens, always zero;
- the 256 zeros are equal at every layer, so that in training one of them, counted 256 times, stands
  for all (`EmptyTokens`).
"""

import copy
import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
)
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

SILENT = 4
# What the pipeline's `max_sequence_length` is where nobody says otherwise.
EMPTY = 256
LATENT_SIDE = 16


@torch.no_grad()
def stacked_tower(text: CLIPTextModel) -> CLIPTextModelWithProjection:
    """The tower with one more layer, which adds nothing, and a projection that changes nothing."""
    config = text.config.to_dict()
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    config |= {"num_hidden_layers": layers + 1, "projection_dim": hidden}
    tower = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    tower.text_model.load_state_dict(text.state_dict(), strict=False)
    added = tower.text_model.encoder.layers[layers]
    for last in (added.self_attn.out_proj, added.mlp.fc2):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    nn.init.eye_(tower.text_projection.weight)
    return tower.eval().requires_grad_(False)


@torch.no_grad()
def silent_tower(text: CLIPTextModel) -> CLIPTextModelWithProjection:
    """A tower for the same tokens whose every output is zero."""
    small = {
        "hidden_size": SILENT, "intermediate_size": SILENT, "projection_dim": SILENT,
        "num_hidden_layers": 1, "num_attention_heads": 1,
    }  # fmt: skip
    tower = CLIPTextModelWithProjection(CLIPTextConfig(**(text.config.to_dict() | small)))
    for p in tower.parameters():
        p.zero_()
    return tower.eval().requires_grad_(False)


@torch.no_grad()
def silent_t5(width: int) -> tuple[T5EncoderModel, T5Tokenizer]:
    """A T5 encoder of three tokens whose every output is zero, and its tokenizer."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    config = T5Config(
        vocab_size=len(words), d_model=width, d_kv=SILENT, d_ff=SILENT, num_layers=1, num_heads=1
    )
    encoder = T5EncoderModel(config)
    for p in encoder.parameters():
        p.zero_()
    tokenizer = T5Tokenizer(vocab=words, extra_ids=0, model_max_length=EMPTY)
    return encoder.eval().requires_grad_(False), tokenizer


class FlowText(nn.Module):
    """Text inputs of the transformer, the same as the pipeline gives it.

    Args:
        text: the shipped model's tower.
    """

    def __init__(self, text: CLIPTextModel) -> None:
        super().__init__()
        self._tower = stacked_tower(text)
        self.width = int(text.config.hidden_size) + SILENT

    def forward(self, tokens: Tensor, empty: int = EMPTY) -> tuple[Tensor, Tensor]:
        """(B, T) to the context (B, T + empty, width) and the pooled text (B, width)."""
        found = self._tower(tokens, output_hidden_states=True)
        context = F.pad(found.hidden_states[-2], (0, SILENT, 0, empty))
        return context, F.pad(found.text_embeds, (0, SILENT))


class EmptyTokens:
    """Joint attention in which the last text token counts as many.

    Math: softmax over keys with log(count) added to the last one's logit
    """

    def __init__(self, count: int = EMPTY) -> None:
        self._log_count = math.log(count)

    @classmethod
    def lay_over(cls, transformer: SD3Transformer2DModel) -> None:
        """Make the transformer take one empty token for `EMPTY`; only training does so."""
        transformer.set_attn_processor(cls())

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> tuple[Tensor, Tensor]:
        """As diffusers' `JointAttnProcessor2_0`, but for the count."""

        def heads(values: Tensor, norm: nn.Module | None) -> Tensor:
            split = torch.unflatten(values, -1, (attn.heads, -1)).transpose(1, 2)
            found: Tensor = norm(split) if norm is not None else split
            return found

        x, text = hidden_states, encoder_hidden_states
        query, key, value = (
            torch.cat([heads(own(x), own_norm), heads(added(text), added_norm)], dim=2)
            for own, own_norm, added, added_norm in (
                (attn.to_q, attn.norm_q, attn.add_q_proj, attn.norm_added_q),
                (attn.to_k, attn.norm_k, attn.add_k_proj, attn.norm_added_k),
                (attn.to_v, None, attn.add_v_proj, None),
            )
        )
        counted = query.new_zeros(1, key.shape[2])
        counted[:, -1] = self._log_count
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=counted)
        found = found.transpose(1, 2).flatten(2)
        picture, said = found[:, : x.shape[1]], found[:, x.shape[1] :]
        if not attn.context_pre_only:
            said = attn.to_add_out(said)
        return attn.to_out[1](attn.to_out[0](picture)), said


def build_transformer(
    text_width: int, layers: int, heads: int, head_width: int, patch: int
) -> SD3Transformer2DModel:
    """An untrained transformer for 16×16×4 latents; every block starts as identity.

    Source: the zeros at the start: Peebles & Xie 2022, arXiv:2212.09748.
    """
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIDE,
        patch_size=patch,
        in_channels=4,
        out_channels=4,
        num_layers=layers,
        attention_head_dim=head_width,
        num_attention_heads=heads,
        joint_attention_dim=text_width,
        caption_projection_dim=heads * head_width,
        pooled_projection_dim=text_width,
        pos_embed_max_size=2 * LATENT_SIDE // patch,
        qk_norm="rms_norm",
    )
    silent = [transformer.proj_out, transformer.norm_out.linear]
    for block in transformer.transformer_blocks:
        silent += [block.norm1.linear, block.norm1_context.linear]
    for layer in silent:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return transformer


def flow_pipeline(
    shipped: StableDiffusionPipeline, transformer: SD3Transformer2DModel, shift: float
) -> StableDiffusion3Pipeline:
    """The transformer with the shipped model's autoencoder, tokenizer and text tower."""
    vae = copy.deepcopy(shipped.vae)
    vae.register_to_config(shift_factor=0.0)
    third, third_tokenizer = silent_t5(transformer.config.joint_attention_dim)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=vae,
        text_encoder=stacked_tower(shipped.text_encoder),
        tokenizer=shipped.tokenizer,
        text_encoder_2=silent_tower(shipped.text_encoder),
        tokenizer_2=shipped.tokenizer,
        text_encoder_3=third,
        tokenizer_3=third_tokenizer,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def export_flow(pipeline: StableDiffusion3Pipeline, out: Path) -> int:
    """Write the pipeline in float16 and return the bytes of its weights; its modules change too."""
    towers = ("text_encoder", "text_encoder_2", "text_encoder_3")
    for name in ("transformer", "vae", *towers):
        getattr(pipeline, name).half()
    pipeline.save_pretrained(out, safe_serialization=True)
    for name in towers:
        # See `training.export`: without it, half-precision text would meet a float32 transformer.
        path = out / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float32"}, indent=2))
    return sum(path.stat().st_size for path in out.rglob("*.safetensors"))
