"""Embedding names: finds the embeddings (textual inversions) that a prompt names.

| text | means |
| --- | --- |
| `embedding:name`, `embedding:name.safetensors` | the embedding of this name, as in ComfyUI |
| `name` | the same, where the name stands by itself, as in AUTOMATIC1111's web UI |

Capitals do not matter, except between two names that differ in nothing else. Of names that begin
alike the longest counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_MARK = "embedding:"
_ENDING = r"(?:\.(?:safetensors|pt|bin))?"
_ASKED = re.compile(rf"(?<!\w){_MARK}(?=[^\s,;:()\[\]|])", re.IGNORECASE)
_WORD = re.compile(r"[^\s,;:()\[\]|]+")


@dataclass(frozen=True, slots=True)
class EmbeddingSpan:
    """Embedding span: tells which part of a text names which embedding.

    Attributes:
        name: as it is known.
        marked: whether `embedding:` stands before it.
    """

    start: int
    end: int
    name: str
    marked: bool


def find_embeddings(text: str, known: Iterable[str]) -> list[EmbeddingSpan]:
    """Find where a text names known embeddings, in its order."""
    names = tuple(known)
    if not names:
        return []
    pattern, folded = _grammar(names)
    spans = []
    for match in pattern.finditer(text):
        said = match["marked"] or match["bare"]
        # A few letters have no small form of their own, such as the Turkish capital I with a dot.
        name = said if said in names else folded.get(said.casefold())
        if name is not None:
            spans.append(EmbeddingSpan(match.start(), match.end(), name, bool(match["marked"])))
    return spans


def unknown_embeddings(text: str, known: Iterable[str]) -> list[str]:
    """List what stands behind `embedding:` in a text and is no known embedding."""
    starts = {span.start for span in find_embeddings(text, known)}
    found = []
    for match in _ASKED.finditer(text):
        if match.start() not in starts:
            word = _WORD.match(text, match.end())
            found.append(word[0] if word else "")
    return found


@lru_cache(maxsize=16)
def _grammar(names: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """What finds all of the names, and the name of each in small letters."""
    longest = sorted(names, key=len, reverse=True)
    marked = "|".join(map(re.escape, longest))
    # A name with a folder in it can only be meant as one behind the mark.
    bare = "|".join(map(_alone, [name for name in longest if "/" not in name])) or r"(?!)"
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.casefold(), name)
    return (
        re.compile(
            rf"(?<!\w){_MARK}(?P<marked>{marked}){_ENDING}(?![\w-])|(?P<bare>{bare})",
            re.IGNORECASE,
        ),
        folded,
    )


def _alone(name: str) -> str:
    """The name between what is no letter, digit or underscore, where it begins or ends in one."""
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
    return f"{before}{re.escape(name)}{after}"
