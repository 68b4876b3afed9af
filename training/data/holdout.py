"""Held-out pairs: a tenth of them, by a stable hash, that no training scene may show.

They measure invention, not recall. A colour that a concept's drawings have of themselves is never
held out: it could not be hidden.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Literal

Relation = Literal["colour", "concept", "setting"]
ONE_IN = 10


def held_out(relation: Relation, first: str, second: str) -> bool:
    """Whether the pair never occurs in training; concepts in any order."""
    if relation == "concept":
        first, second = sorted((first, second))
    text = f"{relation}\0{first}\0{second}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") % ONE_IN == 0


def held_out_colour(label: str, paint: str, natural: Collection[str]) -> bool:
    """Whether a concept is never painted so in training.

    Args:
        natural: the paints that its drawings have of themselves.
    """
    return paint not in natural and held_out("colour", label, paint)
