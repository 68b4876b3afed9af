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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipelines.errors import InvalidRequest

_SYNTAX = re.compile(r"[()\[\]]|\bBREAK\b")
_BREAK = re.compile(r"\bBREAK\b")
# Possessive throughout: what does not match is found out in one look at each character.
_TOKEN = re.compile(
    r"\\[()\[\]]|\(|\[|:\s*+([+-]?+(?:\d++(?:\.\d*+)?+|\.\d++))\s*+\)|\)|\]|"
    r"[^\\()\[\]:]++|[\\:]"
)
_STEP = 1.1
WEIGHT_MAX = 1e6
"""Largest weight: what is larger leaves nothing of a picture."""


@dataclass(frozen=True, slots=True)
class WeightedText:
    """Piece of a prompt: words of one weight."""

    text: str
    weight: float


Parts = tuple[tuple[WeightedText, ...], ...]
"""The parts of a prompt, in order; each has a piece, if only an empty one."""


def parse_weights(prompt: str) -> Parts | str:
    """Parse a prompt into parts with weights; the text itself where it has neither.

    Raises: InvalidRequest: if a weight is larger than WEIGHT_MAX.
    """
    if not _SYNTAX.search(prompt):
        return prompt
    parts = tuple(filter(None, map(_merged, _weighed(prompt)))) or ((WeightedText("", 1.0),),)
    if len(parts) == 1 and all(piece.weight == 1.0 for piece in parts[0]):
        return "".join(piece.text for piece in parts[0])
    return parts


def _weighed(prompt: str) -> list[list[WeightedText]]:
    """Runs of text with the product of the weights around them, by part."""
    texts: list[str | None] = []  # None is where a part ends
    ranges: list[tuple[int, int, float]] = []
    round_: list[int] = []
    square: list[int] = []

    def multiply(start: int, factor: float) -> None:
        ranges.append((start, len(texts), factor))

    for match in _TOKEN.finditer(prompt):
        token, number = match[0], match[1]
        if len(token) == 2 and token[0] == "\\":
            texts.append(token[1])
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
            texts.extend(_broken(token))
    for start in round_:
        multiply(start, _STEP)
    for start in square:
        multiply(start, 1 / _STEP)

    parts: list[list[WeightedText]] = [[]]
    for text, weight in zip(texts, _products(len(texts), ranges), strict=True):
        if text is None:
            parts.append([])
        elif text:
            if not abs(weight) <= WEIGHT_MAX:
                raise InvalidRequest(
                    f"{text!r} in the prompt has the weight {weight:g}; it must be from "
                    f"{-WEIGHT_MAX:,.0f} to {WEIGHT_MAX:,.0f}"
                )
            # Brackets that cancel give 1, not 1 and a rounding error.
            parts[-1].append(WeightedText(text, round(weight, 6)))
    return parts


def _broken(text: str) -> Iterator[str | None]:
    """A run of text cut at each BREAK, without the blanks around it; None is where it was."""
    first, *others = _BREAK.split(text)
    yield first.rstrip() if others else first
    for number, other in enumerate(others, 1):
        yield None
        yield other.strip() if number < len(others) else other.lstrip()


def _products(length: int, ranges: Sequence[tuple[int, int, float]]) -> list[float]:
    """For each place the product of the factors whose ranges hold it: n ranges cost n·log n.

    Args:
        ranges: start, end and factor. A segment tree: a node's factor is that of all below it.
    """
    tree = [1.0] * (2 * length)
    for start, end, factor in ranges:
        left, right = start + length, end + length
        while left < right:
            if left & 1:
                tree[left] *= factor
                left += 1
            if right & 1:
                right -= 1
                tree[right] *= factor
            left >>= 1
            right >>= 1
    for node in range(1, length):
        tree[2 * node] *= tree[node]
        tree[2 * node + 1] *= tree[node]
    return tree[length:]


def _merged(pieces: list[WeightedText]) -> tuple[WeightedText, ...]:
    """Neighbours of one weight joined."""
    return tuple(
        WeightedText("".join(piece.text for piece in alike), weight)
        for weight, alike in groupby(pieces, lambda piece: piece.weight)
    )


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
    start = 0
    while len(tokens) - start > most:
        full = tokens[start : start + most]
        cuts = (i for end in _ENDS for i in range(most, 0, -1) if re.fullmatch(end, full[i - 1]))
        lengths.append(next(cuts, most))
        start += lengths[-1]
    return [*lengths, len(tokens) - start]
