"""Textual inversion: has prompts read by an encoder together with the vectors of embeddings.

Each vector stands in the place of a token's embedding. The encoder sees a token of the vocabulary
there, so that it finds the end of the text by its number as it always does; diffusers, whose
numbers of new tokens are the highest of all, has encoders with an old config (SDXL's second) take
the pooled text from the embedding.

Source: Gal et al. 2022, arXiv:2208.01618; diffusers' `load_textual_inversion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.families.base import LoadedModel
from pipelines.families.embedded_tokenizer import EmbeddedTokenizer
from pipelines.families.spec import FamilySpec


class _Encoder:
    """A text encoder that knows more tokens; everything else is the encoder's."""

    def __init__(self, encoder: nn.Module, first: int, stand_in: int, vectors: Tensor) -> None:
        self._encoder = encoder
        self._first = first
        self._stand_in = stand_in
        self._vectors = vectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def __call__(self, ids: Tensor, **options: Any) -> Any:
        new = ids >= self._first
        if not bool(new.any()):
            return self._encoder(ids, **options)
        table: Any = self._encoder.get_input_embeddings()  # type: ignore[operator]
        wanted = self._vectors[(ids[new] - self._first).cpu()]

        def put(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            made = output.clone()
            made[new.to(made.device)] = wanted.to(made.device, made.dtype)
            return made

        hook = table.register_forward_hook(put)
        try:
            return self._encoder(ids.masked_fill(new, self._stand_in), **options)
        finally:
            hook.remove()


def embedded(model: LoadedModel, spec: FamilySpec) -> LoadedModel:
    """View a model so that its prompts may name the embeddings it was loaded with."""
    if not model.embeddings:
        return model
    changed: dict[str, Any] = {}
    for row in spec.text_encoders:
        vectors: Mapping[str, Tensor] = {
            name: one[row.encoder] for name, one in model.embeddings.items()
        }
        counts = {name: len(one) for name, one in vectors.items()}
        tokenizer = EmbeddedTokenizer(model.components[row.tokenizer], counts)
        changed[row.tokenizer] = tokenizer
        changed[row.encoder] = _Encoder(
            model.components[row.encoder],
            tokenizer.first,
            tokenizer.bos_token_id,
            torch.cat(list(vectors.values())),
        )
    return replace(model, components={**model.components, **changed})
