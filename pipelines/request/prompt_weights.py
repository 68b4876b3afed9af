r"""Prompt weights and parts: parses the grammar of AUTOMATIC1111's web UI. No model.

| text | means |
| --- | --- |
| `(red:1.2)` | red, with weight 1.2 |
| `(red)`, `((red))` | weight 1.1, 1.1² = 1.21 |
| `[red]`, `[[red]]` | weight 1/1.1, 1/1.1² |
| `\(`, `\)`, `\[`, `\]` | the bracket itself |
| `a cat BREAK a dog` | two parts: each is read on its own, as far as the encoder reads |

A bracket that is not closed reaches to the end; one that was not opened is text. A prompt without
any of this, or all of whose weights are 1, is a plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SYNTAX = re.compile(r"[()\[\]]|\bBREAK\b")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_TOKEN = re.compile(
    r"\\[()\[\]]|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|[\\:]"
)
_STEP = 1.1


@dataclass(frozen=True, slots=True)
class WeightedText:
    """Piece of a prompt: words of one weight."""

    text: str
    weight: float


Parts = tuple[tuple[WeightedText, ...], ...]
"""The parts of a prompt, in order; each has a piece, if only an empty one."""


def parse_weights(prompt: str) -> Parts | str:
    """Parse a prompt into parts with weights; the text itself where it has neither."""
    if not _SYNTAX.search(prompt):
        return prompt
    parts = tuple(filter(None, map(_merged, _weighed(prompt)))) or ((WeightedText("", 1.0),),)
    if len(parts) == 1 and all(piece.weight == 1.0 for piece in parts[0]):
        return "".join(piece.text for piece in parts[0])
    return parts


def _weighed(prompt: str) -> list[list[WeightedText]]:
    """Runs of text with the product of the weights around them, by part."""
    texts: list[str | None] = []  # None is where a part ends
    weights: list[float] = []
    round_: list[int] = []
    square: list[int] = []

    def put(text: str | None) -> None:
        texts.append(text)
        weights.append(1.0)

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for match in _TOKEN.finditer(prompt):
        token, number = match[0], match[1]
        if len(token) == 2 and token[0] == "\\":
            put(token[1])
        elif token == "(":
            round_.append(len(texts))
        elif token == "[":
            square.append(len(texts))
        elif number is not None and round_:
            multiply(round_.pop(), float(number))
        elif token == ")" and round_:
            multiply(round_.pop(), _STEP)
        elif token == "]" and square:
            multiply(square.pop(), 1 / _STEP)
        else:
            first, *others = _BREAK.split(token)
            put(first)
            for text in others:
                put(None)
                put(text)
    for start in round_:
        multiply(start, _STEP)
    for start in square:
        multiply(start, 1 / _STEP)

    parts: list[list[WeightedText]] = [[]]
    for text, weight in zip(texts, weights, strict=True):
        if text is None:
            parts.append([])
        elif text:
            # Brackets that cancel give 1, not 1 and a rounding error.
            parts[-1].append(WeightedText(text, round(weight, 6)))
    return parts


def _merged(pieces: list[WeightedText]) -> tuple[WeightedText, ...]:
    """Neighbours of one weight joined."""
    found: list[WeightedText] = []
    for piece in pieces:
        if found and found[-1].weight == piece.weight:
            found[-1] = WeightedText(found[-1].text + piece.text, piece.weight)
        else:
            found.append(piece)
    return tuple(found)


_ENDS = (r"\.</w>", r"[.,;:]</w>", r".*</w>")
"""Tokens that end a sentence, a phrase, a word."""


def chunk_lengths(tokens: Sequence[str], most: int) -> list[int]:
    """Split a text's tokens into chunks: how many go into each; at least one chunk.

    A chunk ends behind its last sentence, else behind its last phrase or word, else where it is
    full, as in compel.
    Args:
        tokens: as CLIP's vocabulary names them; words end with `</w>`.
        most: in a chunk.
    """
    lengths: list[int] = []
    rest = list(tokens)
    while len(rest) > most:
        cuts = (i for end in _ENDS for i in range(most, 0, -1) if re.fullmatch(end, rest[i - 1]))
        lengths.append(next(cuts, most))
        rest = rest[lengths[-1] :]
    return [*lengths, len(rest)]
