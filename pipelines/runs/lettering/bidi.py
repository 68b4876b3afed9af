"""Bidirectional order: levels of a paragraph's characters, and the order in which runs stand.

Source: Unicode Standard Annex #9, without explicit embeddings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import groupby

_STRONG = {"L", "R", "AL"}
_OPENING, _CLOSING = "([{«‹（［｛「『《〈【", ")]}»›）］｝」』》〉】"
_FIRST_LEFTWARD = "\u0590"
"""The first sign of the first script that runs from right to left."""
_NEUTRAL = {"B", "S", "WS", "ON", "BN"}


def levels(text: Sequence[str], leftward: bool | None = None) -> tuple[int, list[int]]:
    """Compute the level of every cluster of a paragraph: odd ones run from right to left.

    Args:
        text: clusters; the first character of each decides.
        leftward: whether the paragraph runs from right to left; None: as its first strong letter.
    Returns: the paragraph's own level, 0 or 1; and theirs.
    """
    if not leftward and all(one[0] < _FIRST_LEFTWARD for one in text):
        return 0, [0] * len(text)
    kinds = [unicodedata.bidirectional(one[0]) or "L" for one in text]
    first = next((kind for kind in kinds if kind in _STRONG), "L")
    base = int(first != "L" if leftward is None else leftward)
    kinds = _neutrals(_brackets(_weak(kinds, base), text, base), base)
    return base, [_level(kind, base) for kind in kinds]


def visual(order: Sequence[int]) -> list[int]:
    """Order places by their levels as they stand from left to right (rule L2)."""
    places = list(range(len(order)))
    for level in range(max(order, default=0), 0, -1):
        turned: list[int] = []
        held: list[int] = []
        for place in places:
            if order[place] >= level:
                held.insert(0, place)
            else:
                turned += [*held, place]
                held = []
        places = turned + held
    return places


def _weak(kinds: list[str], base: int) -> list[str]:
    """Rules W1 to W7: numbers, and what belongs to them."""
    found = list(kinds)
    strong = previous = "R" if base else "L"
    for i, kind in enumerate(found):
        if kind == "NSM":
            found[i] = kind = previous
        if kind in _STRONG:
            strong = kind
        elif kind == "EN" and strong == "AL":
            found[i] = kind = "AN"
        previous = kind
    found = ["R" if kind == "AL" else kind for kind in found]
    for i in range(1, len(found) - 1):
        before, after = found[i - 1], found[i + 1]
        if before == after and (
            (found[i] == "ES" and before == "EN") or (found[i] == "CS" and before in ("EN", "AN"))
        ):
            found[i] = before
    place = 0
    for kind, group in groupby(list(found)):
        end = place + len(list(group))
        if kind == "ET" and "EN" in found[max(0, place - 1) : place] + found[end : end + 1]:
            found[place:end] = ["EN"] * (end - place)
        place = end
    strong = "R" if base else "L"
    for i, kind in enumerate(found):
        if kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            found[i] = "L"
    return ["ON" if kind in ("ES", "ET", "CS") else kind for kind in found]


def _brackets(kinds: list[str], text: Sequence[str], base: int) -> list[str]:
    """Rule N0: both brackets of a pair run as what is between them, or before them, does."""
    found, own = list(kinds), "R" if base else "L"
    pairs, opened = [], list[int]()
    for i, one in enumerate(text):
        if found[i] == "ON" and one[0] in _OPENING:
            opened.append(i)
        elif found[i] == "ON" and one[0] in _CLOSING:
            while opened and _OPENING.index(text[opened[-1]][0]) != _CLOSING.index(one[0]):
                opened.pop()
            if opened:
                pairs.append((opened.pop(), i))
    for start, end in sorted(pairs):
        inside = {side for kind in found[start + 1 : end] if (side := _side(kind))}
        if own in inside:
            found[start] = found[end] = own
        elif inside:
            before = (side for kind in reversed(found[:start]) if (side := _side(kind)))
            found[start] = found[end] = own if next(before, own) == own else inside.pop()
    return found


def _side(kind: str) -> str:
    """Direction of what has one; numbers count as running from right to left."""
    return {"L": "L", "R": "R", "EN": "R", "AN": "R"}.get(kind, "")


def _neutrals(kinds: list[str], base: int) -> list[str]:
    """Rules N1 and N2: what has no direction takes that of both its sides, or the paragraph's."""
    found, own, place = list(kinds), "R" if base else "L", 0
    for neutral, group in groupby(kinds, key=lambda kind: kind in _NEUTRAL):
        end = place + len(list(group))
        if neutral:
            before = found[place - 1] if place else own
            after = kinds[end] if end < len(kinds) else own
            sides = {"L" if side == "L" else "R" for side in (before, after)}
            found[place:end] = [sides.pop() if len(sides) == 1 else own] * (end - place)
        place = end
    return found


def _level(kind: str, base: int) -> int:
    """Rules I1 and I2."""
    if base:
        return 1 if kind == "R" else 2
    return {"R": 1, "AN": 2, "EN": 2}.get(kind, 0)
