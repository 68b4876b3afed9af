"""Token count: counts a prompt's tokens, and tells what of it is cut off. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.checkpoints import model_info
from pipelines.checkpoints.diffusers_folder import check_part
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.families import spec_of
from pipelines.families.embedded_tokenizer import EmbeddedTokenizer
from pipelines.request.prompts.prompt_schedule import scheduled, texts_of
from pipelines.request.prompts.prompt_tags import split_tags
from pipelines.request.prompts.prompt_weights import Parts, chunk_lengths, parse_weights
from pipelines.utils.file_cache import cached_by_file

_STEPS = 50
"""Steps that a prompt is read for, as they are not known while it is typed."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token count of a prompt by one tokenizer.

    Attributes:
        count: of the prompt, without the marks of its start and end.
        most: that are read.
        cut: the end of the prompt, which is not read.
        parts: in which the prompt is read, one after the other; nothing is cut from several.
    """

    count: int
    most: int
    cut: str = ""
    parts: int = 1


def count_tokens(
    model: ModelInfo, text: str, embeddings: Mapping[str, int] = MappingProxyType({})
) -> Tokens:
    """Count the tokens of a prompt, by the tokenizer of a model that reads the least of it.

    Of a prompt that changes by step, or that AND joins, the longest text counts.

    Args:
        embeddings: that it names, and how many vectors each has.
    Raises: ModelUnavailable: if the model's index cannot be read. InvalidRequest: if the prompt
        cannot be read.
    """
    prompt, _ = split_tags(text)
    meanings = list(map(parse_weights, texts_of(scheduled(prompt, _STEPS))))
    counts = _counts(model, meanings, embeddings)
    return max(counts, key=lambda one: (len(one.cut), one.count / one.most))


def unread(
    model: ModelInfo, text: str, embeddings: Mapping[str, int] = MappingProxyType({})
) -> Tokens | None:
    """Tell what of a text no encoder of a model reads; None where one reads it all.

    Args:
        embeddings: as `count_tokens`.
    Raises: ModelUnavailable: if the model's index cannot be read.
    """
    counts = _counts(model, [parse_weights(text)], embeddings)
    least = min(counts, key=lambda one: len(one.cut), default=None)
    return least if least is not None and least.cut else None


def _counts(
    model: ModelInfo, meanings: Sequence[Parts | str], embeddings: Mapping[str, int]
) -> list[Tokens]:
    """Tokens of each of some texts for each tokenizer of a model."""
    counts = []
    for tokenizer, most in _readers(model):
        reader = EmbeddedTokenizer(tokenizer, embeddings) if embeddings else tokenizer
        counts += [_count(reader, most, meaning) for meaning in meanings]
    return counts


def is_word(model: ModelInfo, text: str) -> bool:
    """Tell whether a text is one token of a model, as words of every day are.

    Raises: ModelUnavailable: if the model's index cannot be read.
    """
    tokenizer, _ = next(_readers(model))
    return len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids) == 1


def _readers(model: ModelInfo) -> Iterator[tuple[Any, int]]:
    """The tokenizers of a model, and how many tokens each may give, marks included."""
    lengths = {row.tokenizer: row.tokens for row in spec_of(model.pipeline).text_encoders}
    donated = {} if model.single is None else model.single.donated
    for name, entry in model_info.index_of(model).items():
        if name.startswith("tokenizer") and isinstance(entry, list) and all(entry):
            part = donated.get(name, model.path / name)
            check_part(part.parent, part.name)
            tokenizer = _tokenizer(part, entry[1])
            yield tokenizer, lengths.get(name) or tokenizer.model_max_length


@cached_by_file(most=8)
def _tokenizer(folder: Path, cls: str) -> Any:
    # Not `import transformers`: while it is imported it puts another module into its own place, and
    # a thread that waits for that, as here while a model loads, is given the one before.
    return getattr(import_module("transformers"), cls).from_pretrained(
        str(folder), local_files_only=True
    )


def _count(tokenizer: Any, longest: int, text: str | Parts) -> Tokens:
    most = longest - tokenizer.num_special_tokens_to_add()
    if not isinstance(text, str):
        parts = [
            [
                token
                for piece in part
                for token in tokenizer.convert_ids_to_tokens(
                    tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids
                )
            ]
            for part in text
        ]
        chunks = sum(len(chunk_lengths(part, most)) for part in parts)
        return Tokens(sum(map(len, parts)), most, parts=chunks)
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    places = found["offset_mapping"]
    cut = ""
    if len(places) > most:
        embedded = isinstance(tokenizer, EmbeddedTokenizer)
        read = tokenizer.spelt(text) if embedded else text
        cut = read[places[most][0] :]
        cut = tokenizer.plain(cut) if embedded else cut
    return Tokens(len(places), most, cut)
