"""What English words mean in terms of the concepts that can be drawn, by a sentence model.

The text encoder learns from it where words lie that stand in no caption, and captions borrow some
words of nearly the same meaning, so that the UNet meets more than the concepts' own names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data.concepts import Concept
from training.data.synonyms import SYNONYMS

# Of cosines between centred vectors: two random words have about 0, two names of one thing 0.7.
SURE = 0.6
DOUBTFUL = 0.35
TEMPERATURE = 0.06
# Phrases at once: each has a cosine with every name of every concept.
CHUNK = 4096


def centred(vectors: Tensor) -> Tensor:
    """Vectors less their mean, of length 1: the share that all phrases have says nothing."""
    return F.normalize(vectors - vectors.mean(0), dim=1)


@dataclass(frozen=True)
class Lexicon:
    """Phrases, their meaning, and how near each is to every concept.

    Args:
        phrases: N words and names, without a picture.
        vectors: what the sentence model makes of each, centred, (N, D), of length 1.
        names: rows of `vectors` that are a concept's label or further name, (M,) int64.
        owners: the concept of each of those, (M,) int64.
        concepts: how many there are.
    """

    phrases: list[str]
    vectors: Tensor
    names: Tensor
    owners: Tensor
    concepts: int

    @classmethod
    def of(cls, phrases: list[str], vectors: Tensor, concepts: Sequence[Concept]) -> "Lexicon":
        """From what the sentence model gave; every concept's names must be among the phrases."""
        row_of = {phrase: row for row, phrase in enumerate(phrases)}
        pairs = [(row_of[n], i) for i, c in enumerate(concepts) for n in (c.label, *c.names)]
        names, owners = torch.tensor(pairs).T
        return cls(phrases, centred(vectors), names, owners, len(concepts))

    def likeness(self, rows: Tensor) -> Tensor:
        """The cosine of each phrase with the nearest name of every concept, (rows, concepts)."""
        cosines = self.vectors[rows] @ self.vectors[self.names].T
        found = torch.full((len(rows), self.concepts), -1.0)
        return found.scatter_reduce(1, self.owners.expand_as(cosines), cosines, "amax")

    def kin(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which concepts phrases mean, as probabilities (rows, concepts), and how surely (rows,).

        Math: softmax(likeness / TEMPERATURE); sureness rises from 0 at DOUBTFUL to 1 at SURE.
        """
        likeness = self.likeness(rows)
        sure = (likeness.amax(1) - DOUBTFUL) / (SURE - DOUBTFUL)
        return (likeness / TEMPERATURE).softmax(1), sure.clamp(0, 1)

    def nearest(self, rows: Tensor) -> Iterator[tuple[str, int, float]]:
        """Each phrase, the concept that it is most like, and the cosine of the two."""
        for chunk in torch.split(rows, CHUNK):
            best, owner = self.likeness(chunk).max(1)
            said = [self.phrases[row] for row in chunk.tolist()]
            yield from zip(said, owner.tolist(), best.tolist(), strict=True)

    def odds(self) -> NDArray[np.float64]:
        """How often each phrase should be learnt from, (N,), summing to 1: what means a concept
        ten times as often as what means none."""
        chunks = torch.split(torch.arange(len(self.phrases)), CHUNK)
        sure = torch.cat([self.kin(rows)[1] for rows in chunks]).double()
        weights = (0.1 + 0.9 * sure).numpy()
        return np.asarray(weights / weights.sum())


def said_of(concepts: Sequence[Concept]) -> set[str]:
    """All names and tags, in lower case."""
    return {n.lower() for c in concepts for n in (c.label, *c.names, *c.tags)}


def with_near_words(concepts: Sequence[Concept], lexicon: Lexicon) -> list[Concept]:
    """The concepts, each with the phrases that mean it more surely than any other.

    Neither names and tags of any concept nor the words kept for evaluation are among them.
    """
    said = said_of(concepts) | set(SYNONYMS)
    near: dict[int, list[str]] = {}
    for phrase, index, value in lexicon.nearest(torch.arange(len(lexicon.phrases))):
        if value > SURE and phrase.lower() not in said:
            near.setdefault(index, []).append(phrase)
    return [replace(c, near=tuple(near.get(i, ()))) for i, c in enumerate(concepts)]
