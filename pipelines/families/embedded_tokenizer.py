"""Embedded tokenizer: a tokenizer that reads the names of embeddings as tokens of their own.

Needs no torch. The tokenizer that it is made of stays as it is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.request.prompts.embedding_names import find_embeddings

_OPEN, _CLOSE = "\uf8f0", "\uf8f1"
"""Of Unicode's private use: nobody writes them."""
_SPELT = re.compile(rf"(?:{_OPEN}(\d+)\.\d+{_CLOSE})+")


class EmbeddedTokenizer:
    """Tokenizer that reads each vector of a named embedding as a token behind its own.

    Everything else is the tokenizer's.

    Args:
        counts: names of embeddings, and how many vectors each has.
    """

    def __init__(self, tokenizer: Any, counts: Mapping[str, int]) -> None:
        from tokenizers import AddedToken

        self._names = list(counts)
        self._spelt = {
            name: [f"{_OPEN}{number}.{i}{_CLOSE}" for i in range(count)]
            for number, (name, count) in enumerate(counts.items())
        }
        self.first = len(tokenizer)
        """The first id that is an embedding's."""
        self._tokenizer = copy.deepcopy(tokenizer)
        tokens = [token for spelt in self._spelt.values() for token in spelt]
        self._tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])

    def __call__(self, text: str | Sequence[str], **options: Any) -> Any:
        if isinstance(text, str):
            return self._tokenizer(self.spelt(text), **options)
        return self._tokenizer([self.spelt(one) for one in text], **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def spelt(self, text: str) -> str:
        """Write the tokens of embeddings in the place of their names."""
        made, done = [], 0
        for span in find_embeddings(text, self._names):
            made += [text[done : span.start], *self._spelt[span.name]]
            done = span.end
        return "".join([*made, text[done:]])

    def plain(self, text: str) -> str:
        """Write the names again, also for those that begin in the middle."""
        return _SPELT.sub(lambda match: self._names[int(match[1])], text)
