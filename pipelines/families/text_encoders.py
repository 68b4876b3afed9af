"""Text encoders: computes text embeddings as diffusers' pipelines of the larger families do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.denoising.row import Condition
from pipelines.families.base import LoadedModel
from pipelines.families.encoder_layers import inner_layer
from pipelines.families.spec import TextEncoder


def clip(
    model: LoadedModel,
    row: TextEncoder,
    texts: Sequence[str],
    max_length: int | None = None,
    clip_skip: int = 0,
) -> tuple[Tensor, Tensor]:
    """Encode texts by CLIP: states before its last layer, (texts, tokens, D), and first output.

    The first output is the projected embedding, (texts, P), where the encoder has a projection;
    else the last layer's states.

    Args:
        max_length: tokens; None = as many as the row says.
        clip_skip: further layers before the last one that are left out.
    """
    encoder = model.components[row.encoder]
    layer = inner_layer(clip_skip)
    ids = _tokens(model, row, texts, max_length)
    with torch.inference_mode():
        output = encoder(ids, output_hidden_states=True)
    return layer.states(encoder, output).to(model.dtype), output[0].to(model.dtype)


def clip_pooled(model: LoadedModel, row: TextEncoder, texts: Sequence[str]) -> Tensor:
    """Encode texts by CLIP: its pooled output without projection, (texts, D)."""
    encoder = model.components[row.encoder]
    with torch.inference_mode():
        pooled: Tensor = encoder(_tokens(model, row, texts)).pooler_output
    return pooled.to(model.dtype)


def t5(model: LoadedModel, row: TextEncoder, texts: Sequence[str]) -> Tensor:
    """Encode texts by T5: its states, (texts, tokens, D).

    Padding is not masked, as in diffusers.
    """
    encoder = model.components[row.encoder]
    with torch.inference_mode():
        states: Tensor = encoder(_tokens(model, row, texts))[0]
    return states.to(model.dtype)


def _tokens(
    model: LoadedModel, row: TextEncoder, texts: Sequence[str], max_length: int | None = None
) -> Tensor:
    tokenizer: Any = model.components[row.tokenizer]
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=max_length or row.tokens or tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = tokens.input_ids
    return ids.to(model.device)


def split_conditions(states: Tensor, pooled: Tensor) -> list[Condition]:
    """Split a batch into conditions: states, (1, tokens, D), and pooled embedding, (1, P), each."""
    return list(zip(torch.split(states, 1), torch.split(pooled, 1), strict=True))


def stack_conditions(conditions: Sequence[Condition]) -> tuple[Tensor, Tensor]:
    """Stack conditions, which are pairs, into states and pooled embeddings of a batch."""
    states, pooled = zip(*conditions, strict=True)
    return torch.cat(states), torch.cat(pooled)
