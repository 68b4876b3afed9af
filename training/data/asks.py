"""Captions that ask for one thing each, and what a picture must then show, for evaluation.

Every kind of ask has a twin of held-out pairs where there are such: those measure invention.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.data.backdrops import PLACES
from training.data.bank import Bank
from training.data.captions import article
from training.data.drawings import STYLES
from training.data.holdout import held_out, held_out_colour
from training.data.phrases import NUMBERS, PLACE_WORDS, POSITION_WORDS, SIZE_WORDS
from training.data.recolour import PAINTS


@dataclass(frozen=True)
class Ask:
    """One caption.

    Args:
        kind: a key of `KINDS`.
        caption: what the model is given.
        labels: the concepts that must be there, by label.
        wanted: the rest that is asked: a number, a paint, a place, a size, a style; "" for none.
    """

    kind: str
    caption: str
    labels: tuple[str, ...]
    wanted: str = ""


class Asker:
    """Makes asks at random; the same for equal seeds."""

    def __init__(self, bank: Bank, seed: int = 0) -> None:
        self._bank, self._rng = bank, np.random.default_rng((61, seed))
        emoji = {label for label, style in bank.rows if style in STYLES}
        self._labels = sorted(emoji)
        self._countable = [label for label in self._labels if bank.nouns[label].countable]

    def asks(self, kind: str, count: int) -> list[Ask]:
        """`count` of one kind, of different concepts as far as there are.

        Raises: KeyError: if the kind is unknown.
        """
        return [KINDS[kind](self) for _ in range(count)]

    def _pick(self, options: list[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _said(self, label: str) -> str:
        """ "an apple" """
        noun = self._bank.nouns[label]
        name = noun.names[0]
        return f"{article(name)} {name}" if noun.countable else name

    def _with(self, label: str, word: str) -> str:
        """ "a blue apple" """
        noun = self._bank.nouns[label]
        phrase = f"{word} {noun.names[0]}"
        return f"{article(phrase)} {phrase}" if noun.countable else phrase

    def concept(self) -> Ask:
        """A bare thing."""
        label = self._pick(self._labels)
        return Ask("concept", self._said(label), (label,))

    def count(self) -> Ask:
        """One to four of a thing."""
        label, number = self._pick(self._countable), int(self._rng.integers(1, 5))
        noun = self._bank.nouns[label]
        text = self._said(label) if number == 1 else f"{NUMBERS[number]} {noun.plural}"
        return Ask("count", text, (label,), str(number))

    def _pair(self, kept: bool, kind: str) -> Ask:
        while True:
            first, second = self._pick(self._countable), self._pick(self._countable)
            if first != second and held_out("concept", first, second) == kept:
                return Ask(kind, f"{self._said(first)} and {self._said(second)}", (first, second))

    def pair(self) -> Ask:
        """Two things that training has together."""
        return self._pair(False, "pair")

    def new_pair(self) -> Ask:
        """Two things that training never has together."""
        return self._pair(True, "new pair")

    def _colour(self, kept: bool, kind: str) -> Ask:
        while True:
            label, paint = self._pick(self._countable), self._pick(list(PAINTS))
            natural = self._bank.natural.get(label, frozenset())
            if paint in natural or held_out_colour(label, paint, natural) != kept:
                continue
            return Ask(kind, self._with(label, paint), (label,), paint)

    def colour(self) -> Ask:
        """A thing in a colour against its habit."""
        return self._colour(False, "colour")

    def new_colour(self) -> Ask:
        """A thing in a colour that training never gives it."""
        return self._colour(True, "new colour")

    def _setting(self, kept: bool, kind: str) -> Ask:
        while True:
            label, place = self._pick(self._countable), self._pick(list(PLACES))
            if held_out("setting", label, place) == kept:
                return Ask(kind, f"{self._said(label)} {PLACE_WORDS[place][0]}", (label,), place)

    def setting(self) -> Ask:
        """A thing in a place."""
        return self._setting(False, "setting")

    def new_setting(self) -> Ask:
        """A thing in a place where training never has it."""
        return self._setting(True, "new setting")

    def position(self) -> Ask:
        """A thing at a side or in the middle."""
        label, side = self._pick(self._countable), self._pick([n[0] for n in SIDES])
        return Ask("position", f"{self._said(label)} {POSITION_WORDS[side,][0]}", (label,), side)

    def size(self) -> Ask:
        """A tiny, small or large thing."""
        label, size = self._pick(self._countable), self._pick(list(SIZE_WORDS))
        return Ask("size", self._with(label, SIZE_WORDS[size][0]), (label,), size)

    def style(self) -> Ask:
        """A thing in a style."""
        label, style = self._pick(self._labels), self._pick(list(STYLES))
        return Ask("style", f"{self._said(label)}, {style} style", (label,), style)


SIDES = tuple(names for names in POSITION_WORDS if len(names) == 1)
KINDS: dict[str, Callable[[Asker], Ask]] = {
    "concept": Asker.concept,
    "count": Asker.count,
    "pair": Asker.pair,
    "new pair": Asker.new_pair,
    "colour": Asker.colour,
    "new colour": Asker.new_colour,
    "setting": Asker.setting,
    "new setting": Asker.new_setting,
    "position": Asker.position,
    "size": Asker.size,
    "style": Asker.style,
}
