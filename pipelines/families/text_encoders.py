"""Text to embeddings, as diffusers' pipelines of the larger families compute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.families.base import Model


def clip(
    model: Model, suffix: str, texts: Sequence[str], max_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """States before a CLIP encoder's last layer, (texts, tokens, D), and its first output.

    The first output is the projected embedding, (texts, P), where the encoder has a projection;
    else the last layer's states.

    Args:
        suffix: of the components' names, such as `_2`.
        max_length: tokens; None = as many as the tokenizer takes.
    """
    encoder = model.components[f"text_encoder{suffix}"]
    ids = _tokens(model, suffix, texts, max_length)
    with torch.inference_mode():
        output = encoder(ids, output_hidden_states=True)
    return output.hidden_states[-2].to(model.dtype), output[0].to(model.dtype)


def clip_pooled(model: Model, suffix: str, texts: Sequence[str]) -> Tensor:
    """A CLIP encoder's pooled output without projection, (texts, D)."""
    encoder = model.components[f"text_encoder{suffix}"]
    with torch.inference_mode():
        pooled: Tensor = encoder(_tokens(model, suffix, texts, None)).pooler_output
    return pooled.to(model.dtype)


def t5(model: Model, suffix: str, texts: Sequence[str], max_length: int) -> Tensor:
    """A T5 encoder's states, (texts, max_length, D). Padding is not masked, as in diffusers."""
    encoder = model.components[f"text_encoder{suffix}"]
    with torch.inference_mode():
        states: Tensor = encoder(_tokens(model, suffix, texts, max_length))[0]
    return states.to(model.dtype)


def _tokens(model: Model, suffix: str, texts: Sequence[str], max_length: int | None) -> Tensor:
    tokenizer: Any = model.components[f"tokenizer{suffix}"]
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=max_length or tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = tokens.input_ids
    return ids.to(model.device)


def pairs(states: Tensor, pooled: Tensor) -> list[tuple[Tensor, Tensor]]:
    """One condition a text: its states, (1, tokens, D), and its pooled embedding, (1, P)."""
    return list(zip(torch.split(states, 1), torch.split(pooled, 1), strict=True))


def stacked(conditions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """States and pooled embeddings of a batch of conditions."""
    return torch.cat([states for states, _ in conditions]), torch.cat([p for _, p in conditions])
