"""Weighted prompts: encodes prompts with weights or several parts by CLIP's text encoders.

Math: z are a part's states, (tokens, D), e those of an empty text, w the tokens' weights, 1 for
start, end and padding, and z_i the states with the i-th run of words below 1 hidden from the
encoder's attention, whose weight is w_i:
    s = e + w·(z − e);  z' = (s + Σ a_i·s_i) / (1 + Σ a_i),  a_i = tan((1 − max(w_i, 1e-5))·π/2)
    So a weight above 1 leads away from the empty text, one of 0.5 half-way to a text without these
    words, one of 0 or less all the way. Parts stand one behind the other.
Source: compel 2.5, whose embeddings these equal (`tests/parity/test_compel.py`). Its code is not
    called: it looks for a run's tokens by their value, and fails on spaces that have a weight.

By design this differs from compel in three things:
- The grammar is AUTOMATIC1111's (`request.prompt_weights`), which people write and other tools
  read; compel's `(red)1.2`, `red++`, `.and()` and `.blend()` are text. Neighbours of one weight
  that no space parts are one word, `(ab)(cd)`; compel puts a space between them.
- SDXL's pooled embedding is that of the first part's words. compel encodes the text as it was
  written, brackets and numbers included.
- A plain prompt is encoded, and cut, as diffusers does; compel goes on in another part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from pipelines.denoising.row import Condition
from pipelines.families.base import Family, LoadedModel
from pipelines.families.encoder_layers import Layer, final_layer, inner_layer
from pipelines.request.prompts.prompt_weights import (
    Parts,
    WeightedText,
    chunk_lengths,
    parse_weights,
)

_LEAST = 1e-5
"""Weights below it count as it: the tangent of a right angle has no end."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Tokenized part of a prompt: what the encoder reads, in one or more chunks.

    Attributes:
        ids: chunks, each as long as the encoder reads.
        weights: of their tokens.
        runs: first and last place, counted through all chunks, and weight of each run of words
            that weigh less than 1.
    """

    ids: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    runs: tuple[tuple[int, int, float], ...]

    @property
    def weighs(self) -> bool:
        """Whether any weight is not 1."""
        return any(weight != 1.0 for chunk in self.weights for weight in chunk)

    def mask_without(self, first: int, last: int) -> list[list[int]]:
        """What is attended to, by chunk, when a run is not; chunks keep their two ends."""
        longest = len(self.ids[0])
        return [
            [
                int(i in (0, longest - 1) or not first <= start + i <= last)
                for i in range(longest)
            ]
            for start in range(0, longest * len(self.ids), longest)
        ]  # fmt: skip


def conditions(
    family: Family,
    model: LoadedModel,
    texts: Sequence[str],
    alone: bool = False,
    clip_skip: int = 0,
) -> dict[str | None, Condition]:
    """Encode every text; texts that mean the same have one and the same condition.

    Args:
        alone: encode one by one. Else those without weights are encoded together.
        clip_skip: last layers of CLIP's encoders that are left out.
    """
    # A family whose encoders have no layers to leave out need not know of it.
    skipped = (clip_skip,) if clip_skip else ()
    meanings = {text: parse_weights(text) for text in texts}
    plain = sorted({one for one in meanings.values() if isinstance(one, str)})
    encoded: dict[Parts | str, Condition]
    if alone:
        encoded = {text: family.encode(model, [text], *skipped)[0] for text in plain}
    else:
        together = family.encode(model, plain, *skipped) if plain else ()
        encoded = dict(zip(plain, together, strict=True))
    for parts in dict.fromkeys(meanings.values()):
        if not isinstance(parts, str):
            encoded[parts] = encode(model, parts, clip_skip)
    # Texts of one meaning, such as those that differ in capitals only, are one condition: their
    # rows are computed once.
    same: dict[tuple[bytes, ...], Condition] = {}
    for one, condition in encoded.items():
        encoded[one] = same.setdefault(_bits(condition), condition)
    return {text: encoded[one] for text, one in meanings.items()}


def _bits(condition: Condition) -> tuple[bytes, ...]:
    """The exact content of a condition, as digests."""
    tensors = condition if isinstance(condition, tuple) else (condition,)
    return tuple(
        hashlib.sha256(one.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).digest()
        for one in tensors
    )


def encode(model: LoadedModel, parts: Parts, clip_skip: int = 0) -> Condition:
    """Encode a prompt in parts: states, (1, parts · tokens, D).

    With a second encoder, as in SDXL, the states of both side by side, and the second's
    projection of the first part, (1, P), which has no weights.
    """
    if "text_encoder_2" not in model.components:
        layer = final_layer(clip_skip)
        return _encode(model, "", parts, layer)[0].to(model.dtype)
    layer = inner_layer(clip_skip)
    states, _ = _encode(model, "", parts, layer)
    states_2, pooled = _encode(model, "_2", parts, layer)
    # Tokenizers of two vocabularies may cut in different places, and need another part.
    longest = max(states.shape[1], states_2.shape[1])
    both = [
        _filled(model, suffix, some, longest, layer)
        for suffix, some in (("", states), ("_2", states_2))
    ]
    return torch.cat(both, dim=-1).to(model.dtype), pooled.to(model.dtype)


def tokenize(tokenizer: Any, part: Sequence[WeightedText]) -> Tokenized:
    """Tokenize a part; one too long goes on in another chunk, behind a sentence or a word."""
    longest = tokenizer.model_max_length
    weighted: list[tuple[int, float]] = []
    for piece in part:
        ids = tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids
        weighted += [(id, piece.weight) for id in ids]
    names = tokenizer.convert_ids_to_tokens([id for id, _ in weighted])
    chunks: list[tuple[int, ...]] = []
    weights: list[tuple[float, ...]] = []
    places: list[tuple[int, float]] = []
    done = 0
    for count in chunk_lengths(names, longest - tokenizer.num_special_tokens_to_add()):
        some = weighted[done : done + count]
        filling = longest - count - 2
        padding = [tokenizer.pad_token_id] * filling
        start = 1 + longest * len(chunks)
        places += [(start + i, weight) for i, (_, weight) in enumerate(some)]
        ids = [tokenizer.bos_token_id, *(id for id, _ in some), tokenizer.eos_token_id, *padding]
        chunks.append(tuple(ids))
        weights.append((1.0, *(weight for _, weight in some), *[1.0] * (filling + 1)))
        done += count
    return Tokenized(tuple(chunks), tuple(weights), tuple(_runs(places)))


def _runs(places: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, float]]:
    for weight, run in groupby(places, key=lambda place: place[1]):
        if weight < 1.0:
            numbers = [number for number, _ in run]
            yield numbers[0], numbers[-1], weight


def _encode(model: LoadedModel, suffix: str, parts: Parts, layer: Layer) -> tuple[Tensor, Tensor]:
    """An encoder's weighted states of all parts in a row, and its first output for the first.

    Returns: states, (1, tokens, D); the output, (1, …).
    """
    tokenizer = model.components[f"tokenizer{suffix}"]
    tokenized = [tokenize(tokenizer, part) for part in parts]
    empty = tokenize(tokenizer, ())
    ids: list[tuple[int, ...]] = []
    masks: list[list[int]] = []
    for part in tokenized:
        whole = [[1] * len(chunk) for chunk in part.ids]
        for mask in (whole, *(part.mask_without(first, end) for first, end, _ in part.runs)):
            ids += part.ids
            masks += mask
    if any(part.weighs for part in tokenized):
        ids += empty.ids
        masks += [[1] * len(empty.ids[0])]
    states, output = _states(model, suffix, ids, masks, layer)
    joined = []
    done = 0
    for part in tokenized:
        rows = len(part.ids) * (1 + len(part.runs))
        z = states[done : done + rows].reshape(1 + len(part.runs), -1, states.shape[-1])
        joined.append(weigh(z, states[-1], part) if part.weighs else z[0])
        done += rows
    return torch.cat(joined)[None], output[:1]


def _states(
    model: LoadedModel,
    suffix: str,
    ids: Sequence[Sequence[int]],
    masks: Sequence[Sequence[int]],
    layer: Layer,
) -> tuple[Tensor, Tensor]:
    """An encoder's states, (chunks, tokens, D), and its first output."""
    encoder = model.components[f"text_encoder{suffix}"]
    tokens = torch.tensor(ids, device=model.device)
    mask = torch.tensor(masks, device=model.device)
    if getattr(encoder.config, "use_attention_mask", False):
        end = model.components[f"tokenizer{suffix}"].eos_token_id
        first_end = (tokens == end).int().argmax(dim=1, keepdim=True)
        mask = mask * (torch.arange(tokens.shape[1], device=model.device) <= first_end)
    # Without one, CLIP computes as for a plain prompt, to the bit.
    seen = None if bool(mask.all()) else mask
    with torch.inference_mode():
        output = encoder(tokens, attention_mask=seen, output_hidden_states=layer.inner)
        return layer.states(encoder, output), output[0]


def weigh(states: Tensor, empty: Tensor, part: Tokenized) -> Tensor:
    """Weigh a part's states, (tokens, D).

    Args:
        states: (1 + runs, tokens, D): whole, then without each run of words below 1.
        empty: of an empty text, (tokens of a chunk, D).
    """
    weights = torch.tensor(part.weights, dtype=states.dtype, device=states.device).flatten()
    base = empty.repeat(len(part.ids), 1)
    scaled = torch.where((weights == 1)[:, None], states, base + weights[:, None] * (states - base))
    pulls = [math.tan((1 - max(weight, _LEAST)) * math.pi / 2) for *_, weight in part.runs]
    shares = torch.tensor([1.0, *pulls], device=states.device)
    shares = (shares / shares.sum())[:, None, None]
    return (shares * scaled).sum(0)


def _filled(model: LoadedModel, suffix: str, states: Tensor, tokens: int, layer: Layer) -> Tensor:
    """States, (1, ·, D), filled up with those of empty texts."""
    if states.shape[1] == tokens:
        return states
    empty, _ = _encode(model, suffix, ((WeightedText("", 1.0),),), layer)
    return torch.cat([states, *[empty] * ((tokens - states.shape[1]) // empty.shape[1])], dim=1)
