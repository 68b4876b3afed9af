"""Prompts with weights or several parts, for families whose text encoders are CLIP's.

Math: z are a part's states, (tokens, D), and w its tokens' weights, 1 for start, end and padding:
    z' = w·z · mean(z)/mean(w·z), so that the mean stays. Parts stand one behind the other.
Source: AUTOMATIC1111's web UI, whose prompts this reads; there `w` multiplies the same states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.emphasis import Parts, read
from pipelines.families.base import Family, Model

Chunk = tuple[list[int], list[float]]
"""Token ids as long as the encoder reads, and their weights."""


def conditions(
    family: Family, model: Model, texts: Sequence[str], alone: bool = False
) -> dict[str | None, Any]:
    """The condition of every text; texts that mean the same have one and the same.

    Args:
        alone: encode one by one. Else those without weights are encoded together.
    """
    meanings = {text: read(text) for text in texts}
    plain = sorted({one for one in meanings.values() if isinstance(one, str)})
    encoded: dict[Parts | str, Any]
    if alone:
        encoded = {text: family.encode(model, [text])[0] for text in plain}
    else:
        encoded = dict(zip(plain, family.encode(model, plain) if plain else (), strict=True))
    for parts in dict.fromkeys(meanings.values()):
        if not isinstance(parts, str):
            encoded[parts] = encode(model, parts)
    return {text: encoded[one] for text, one in meanings.items()}


def encode(model: Model, parts: Parts) -> Any:
    """The condition of a prompt in parts: states, (1, parts · tokens, D).

    With a second encoder, as in SDXL, the states of both side by side, and the second's
    projection of the first part, (1, P), which has no weights.
    """
    first = chunks(model.components["tokenizer"], parts)
    if "text_encoder_2" not in model.components:
        return _joined(_states(model, "", first, last=True)[0], first).to(model.dtype)
    second = chunks(model.components["tokenizer_2"], parts)
    states, _ = _states(model, "", first, last=False)
    states_2, pooled = _states(model, "_2", second, last=False)
    both = torch.cat([_joined(states, first), _joined(states_2, second)], dim=-1)
    return both.to(model.dtype), pooled[:1].to(model.dtype)


def chunks(tokenizer: Any, parts: Parts) -> list[Chunk]:
    """Parts as the encoder reads them; a part that is too long is cut into several."""
    longest = tokenizer.model_max_length
    most = longest - tokenizer.num_special_tokens_to_add()
    found: list[Chunk] = []
    for part in parts:
        ids: list[int] = []
        weights: list[float] = []
        for piece in part:
            new = tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids
            ids += new
            weights += [piece.weight] * len(new)
        for start in range(0, max(len(ids), 1), most):
            some = ids[start : start + most]
            filling = longest - len(some) - 2
            marked = [tokenizer.bos_token_id, *some, tokenizer.eos_token_id]
            found.append(
                (
                    marked + [tokenizer.pad_token_id] * filling,
                    [1.0, *weights[start : start + most], 1.0] + [1.0] * filling,
                )
            )
    return found


def _states(
    model: Model, suffix: str, some: Sequence[Chunk], *, last: bool
) -> tuple[Tensor, Tensor]:
    """An encoder's states, (chunks, tokens, D), and its first output."""
    encoder = model.components[f"text_encoder{suffix}"]
    ids = torch.tensor([ids for ids, _ in some], device=model.device)
    mask = None
    if getattr(encoder.config, "use_attention_mask", False):
        end = model.components[f"tokenizer{suffix}"].eos_token_id
        first_end = (ids == end).int().argmax(dim=1, keepdim=True)
        mask = (torch.arange(ids.shape[1], device=model.device) <= first_end).long()
    with torch.inference_mode():
        output = encoder(ids, attention_mask=mask, output_hidden_states=not last)
    return output[0] if last else output.hidden_states[-2], output[0]


def _joined(states: Tensor, some: Sequence[Chunk]) -> Tensor:
    """Weights applied to each chunk by itself, then all of them in a row, (1, tokens, D)."""
    weights = torch.tensor([w for _, w in some], dtype=states.dtype, device=states.device)
    weighted = [weigh(*pair) for pair in zip(states, weights, strict=True)]
    return torch.cat(weighted)[None]


def weigh(states: Tensor, weights: Tensor) -> Tensor:
    """States of one chunk, (tokens, D), multiplied by weights, (tokens,), their mean kept."""
    if bool((weights == 1).all()):
        return states
    scaled = states * weights[:, None]
    return scaled * (states.mean() / scaled.mean())
