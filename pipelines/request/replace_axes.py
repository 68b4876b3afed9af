"""Replace axes: search and replace in a prompt, several at once, in the places of the base prompt.

`prompt_replace=apple,pear` puts a pear where the prompt says apple; `prompt_replace2` to
`prompt_replace9` replace something else beside it, and `negative_replace` does so in the negative
prompt. All replace in the base prompt: `a,b` beside `b,a` swaps the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import InvalidRequest

_AXIS = re.compile(r"(prompt|negative)_replace[2-9]?")
_TEXTS = {"prompt": "prompt", "negative": "negative_prompt"}
LISTED = ("prompt_replace", "prompt_replace2", "negative_replace")
"""The axes that menus and help name; there are more, up to 9."""


def text_of(axis: str) -> str | None:
    """Look up the field whose text an axis replaces in; None for any other axis."""
    match = _AXIS.fullmatch(axis)
    return None if match is None else _TEXTS[match[1]]


@dataclass(frozen=True, slots=True)
class Replacement:
    """Search and replace in one cell: an axis' first value, and its value there."""

    search: str
    text: str


def replaced(field: str, base: str, axes: Mapping[str, Replacement]) -> str:
    """Replace in a text, in one pass, so that no replacement is searched again.

    Where two searches meet, the one that begins first is replaced, or else the longer one.

    Args:
        field: whose text it is.
        axes: by the axis that each belongs to.
    Raises: InvalidRequest: if a search is empty, is not in the text, is that of another axis, or
        stands only where another's is replaced.
    """
    by_search: dict[str, str] = {}
    for axis, one in axes.items():
        if not one.search or one.search not in base:
            raise InvalidRequest(
                f"{axis} starts with {one.search!r}, which is not in the {_words(field)} "
                f"{base!r}; the first value is what gets replaced"
            )
        if one.search in by_search:
            raise InvalidRequest(
                f"{by_search[one.search]} and {axis} both replace {one.search!r}; join their "
                "values in one"
            )
        by_search[one.search] = axis
    longest_first = sorted(by_search, key=len, reverse=True)
    found: set[str] = set()

    def put(match: re.Match[str]) -> str:
        found.add(match[0])
        return axes[by_search[match[0]]].text

    text = re.sub("|".join(map(re.escape, longest_first)), put, base)
    for search, axis in by_search.items():
        if search not in found:
            raise InvalidRequest(
                f"{axis} replaces {search!r}, which stands only inside what another axis "
                f"replaces in the {_words(field)} {base!r}"
            )
    return text


def _words(field: str) -> str:
    return field.replace("_", " ")
