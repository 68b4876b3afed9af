"""Captions of composed scenes: varied English that names a random part of what is there.

What a caption leaves out was drawn at random, so every word takes one freedom away. How talkative
a caption is differs from one to the next: many say only what is there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.bank import STYLE_FREE, Bank, Sprite
from training.data.captions import article
from training.data.composition import Scene, Thing
from training.data.kinds import MASS, PLURAL_ONLY, plural_of
from training.data.placement import position_names, size_name

NUMBERS = {2: "two", 3: "three", 4: "four"}
SIZE_WORDS = {
    "tiny": ("tiny", "very small"),
    "small": ("small", "little"),
    "large": ("large", "big"),
}
POSITION_WORDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("left",): ("on the left", "at the left", "on the left side"),
    ("right",): ("on the right", "at the right", "on the right side"),
    ("top",): ("at the top", "in the upper part"),
    ("bottom",): ("at the bottom", "in the lower part"),
    ("centre",): ("in the middle", "in the centre", "in the center"),
    ("left", "top"): ("in the top left corner", "at the upper left"),
    ("right", "top"): ("in the top right corner", "at the upper right"),
    ("left", "bottom"): ("in the bottom left corner", "at the lower left"),
    ("right", "bottom"): ("in the bottom right corner", "at the lower right"),
}
PLACE_WORDS = {
    "meadow": ("in a meadow", "on the grass", "on a green meadow", "in a field"),
    "sea": ("at the sea", "by the sea", "in the sea", "on the ocean"),
    "night": ("at night", "under the moon", "in the night", "under a night sky with a moon"),
    "desert": ("in the desert", "in a desert", "on the sand"),
    "snow": ("in the snow", "on snow", "in winter", "in a snowy landscape"),
    "room": ("in a room", "inside a room", "indoors"),
    "street": ("on a street", "in the city", "in a street", "in front of city houses"),
}
LIGHT_WORDS = {
    "warm": ("in warm light", "in evening light"),
    "cold": ("in cold light", "in bluish light"),
    "dim": ("in dim light", "in the dark"),
}
RELATION_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "left of": (
        ("left of", "to the left of"),
        ("right of", "to the right of"),
    ),
    "above": (("above", "over"), ("below", "under")),
    "on": (("on", "on top of"), ("under", "beneath")),
    "in front of": (("in front of", "before"), ("behind",)),
}
PREFIXES = ("a picture of", "a drawing of", "an emoji of", "an icon of", "an image of", "there is")
WORN_WORDS = {
    "top hat": ("a hat", "a top hat", "a black hat"),
    "crown": ("a crown", "a golden crown"),
    "graduation cap": ("a graduation cap", "a hat"),
    "woman’s hat": ("a straw hat", "a hat"),
    "billed cap": ("a cap", "a baseball cap", "a hat"),
    "glasses": ("glasses", "a pair of glasses"),
    "sunglasses": ("sunglasses", "dark glasses"),
}


@dataclass(frozen=True)
class Telling:
    """Which of its properties a caption names, and how often each is named at full talk.

    Args:
        paint: new colours, nearly always said: a blue apple is no plain apple.
    """

    size: float = 0.7
    own_colour: float = 0.45
    paint: float = 0.9
    position: float = 0.85
    setting: float = 0.9
    style: float = 0.6
    light: float = 0.6
    relation: float = 0.8
    worn: float = 0.95
    prefix: float = 0.08


class Teller:
    """One caption's choices."""

    def __init__(
        self, bank: Bank, scene: Scene, rng: np.random.Generator, telling: Telling | None = None
    ) -> None:
        self._bank, self._scene, self._rng = bank, scene, rng
        self._telling = telling or Telling()
        # A third of the captions say hardly more than what is there.
        self._talk = 0.12 if rng.random() < 0.3 else float(rng.uniform(0.3, 1.0))
        sprites = [bank.sprites[thing.row] for thing in scene.things]
        styles = {sprite.style for sprite in sprites} - {STYLE_FREE}
        self._style = styles.pop() if len(styles) == 1 else ""
        self._names = {s.label: self._name(s) for s in sprites}

    def _says(self, share: float) -> bool:
        return bool(self._rng.random() < share * self._talk)

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _name(self, sprite: Sprite) -> str:
        names = self._bank.nouns[sprite.label].names
        return names[0] if self._rng.random() < 0.65 else self._pick(names)

    def _colour(self, thing: Thing) -> str:
        sprite = self._bank.sprites[thing.row]
        if thing.paint:
            return thing.paint if self._rng.random() < self._telling.paint else ""
        if sprite.said:
            return ""
        if sprite.paint:
            return sprite.paint if self._rng.random() < self._telling.paint else ""
        return sprite.main.name or "" if self._says(self._telling.own_colour) else ""

    def _size(self, thing: Thing) -> str:
        word = size_name(thing.box)
        return self._pick(SIZE_WORDS[word]) if word and self._says(self._telling.size) else ""

    def noun_phrase(self, thing: Thing, size: str = "") -> str:
        """ "a small blue apple", "a person waving, red shirt": with its article."""
        sprite = self._bank.sprites[thing.row]
        words = [size, self._colour(thing), self._names[sprite.label]]
        own = self._bank.nouns[sprite.label].own
        if own and not thing.paint and not any(words[:2]) and self._says(0.4):
            words = [self._pick(own)]
        if sprite.said:
            return self._person(sprite, size)
        phrase = " ".join(filter(None, words))
        if phrase.split()[-1] in PLURAL_ONLY | MASS:
            return phrase
        head = self._rng.random()
        if head < 0.08:
            return phrase
        return f"{article(phrase) if head < 0.93 else 'the'} {phrase}"

    def _person(self, sprite: Sprite, size: str) -> str:
        """What a drawn person does and, of a talkative caption, wears."""
        doing, *clothes = sprite.said.split(", ")
        name = f"{size} {self._names[sprite.label]}".strip()
        phrase = f"{article(name)} {name} {doing}"
        kept = [piece for piece in clothes if self._says(0.9)]
        if kept and self._rng.random() < 0.5:
            worn = [f"{article(k)} {k}" if k.endswith("shirt") else k for k in kept]
            return f"{phrase} in {' and '.join(worn)}"
        return " in ".join([phrase, " and ".join(kept)]) if kept else phrase

    def counted(self, things: Sequence[Thing], size: str = "") -> str:
        """ "three small apples"; one of them as by itself."""
        if len(things) == 1:
            return self.noun_phrase(things[0], size)
        noun = self._bank.nouns[self._bank.sprites[things[0].row].label]
        name = self._names[noun.label]
        plural = noun.plural if name == noun.names[0] else plural_of(name)
        same = {(t.paint, self._bank.sprites[t.row].paint) for t in things}
        colour = self._colour(things[0]) if len(same) == 1 else ""
        return " ".join(filter(None, (NUMBERS[len(things)], size, colour, plural)))

    def _groups(self) -> list[list[Thing]]:
        """The things by concept, in random order."""
        groups: dict[str, list[Thing]] = {}
        for thing in self._scene.things:
            groups.setdefault(self._bank.sprites[thing.row].label, []).append(thing)
        found = list(groups.values())
        return [found[i] for i in self._rng.permutation(len(found))]

    def _subject(self) -> tuple[str, list[str]]:
        """What is there, and what else may be said of it."""
        scene = self._scene
        if scene.relation and self._rng.random() < self._telling.relation:
            return self._related(), []
        groups = self._groups()
        if len(groups) > 1:
            said = [self.counted(group) for group in groups]
            if len(said) == 2 and self._rng.random() < 0.25:
                return f"{said[0]} {self._pick(('with', 'next to', 'beside'))} {said[1]}", []
            return f"{', '.join(said[:-1])} and {said[-1]}", []
        (things,) = groups
        thing = things[0]
        alone = len(things) == 1
        head = self.counted(things, self._size(thing) if alone else "")
        more = []
        if thing.worn and self._rng.random() < self._telling.worn:
            verb = self._pick(("wearing", "wearing", "with"))
            head = f"{head} {verb} {self._pick(WORN_WORDS[thing.worn])}"
        if alone and self._says(self._telling.position):
            names = position_names(thing.box)
            if len(names) == 2 and self._rng.random() < 0.4:
                names = (self._pick(names),)
            if names:
                more.append(self._pick(POSITION_WORDS[names]))
        return head, more

    def _related(self) -> str:
        """One of the two ways round."""
        first, second = self._scene.things
        there, back = RELATION_WORDS[self._scene.relation]
        if self._rng.random() < 0.5:
            return f"{self.noun_phrase(first)} {self._pick(there)} {self.noun_phrase(second)}"
        return f"{self.noun_phrase(second)} {self._pick(back)} {self.noun_phrase(first)}"

    def _setting(self) -> str:
        setting = self._scene.setting
        if setting.kind in PLACE_WORDS:
            return self._pick(PLACE_WORDS[setting.kind])
        if setting.kind == "gradient":
            first, second = setting.colours
            return self._pick(
                (f"on a gradient from {first} to {second}", f"{first} and {second} background",
                 "on a gradient background")
            )  # fmt: skip
        colour = setting.colours[0]
        if not colour:
            return "on a plain background" if self._rng.random() < 0.5 else ""
        return self._pick(
            (
                *[f"on {article(colour)} {colour} background"] * 2,
                f"{colour} background",
                f"on {colour}",
            )
        )

    def text(self) -> str:
        """The caption."""
        head, more = self._subject()
        if self._rng.random() < self._telling.prefix:
            head = f"{self._pick(PREFIXES)} {head}"
        before: list[str] = []
        if self._says(self._telling.setting):
            said = self._setting()
            first = said and self._rng.random() < 0.12
            (before if first else more).append(said)
        if self._scene.light and self._says(self._telling.light):
            more.append(self._pick(LIGHT_WORDS[self._scene.light]))
        if self._style and self._says(self._telling.style):
            form = self._pick(
                (f"{self._style} style", f"{self._style} style", f"in {self._style} style")
            )
            (before if self._rng.random() < 0.2 else more).append(form)
        more = [more[i] for i in self._rng.permutation(len(more)) if more[i]]
        comma = ", " if self._rng.random() < 0.5 else " "
        text = comma.join([head, *more])
        return ", ".join(filter(None, [*before, text]))


def caption(bank: Bank, scene: Scene, rng: np.random.Generator) -> str:
    """One way to ask for the scene."""
    return Teller(bank, scene, rng).text()


def counts(bank: Bank, scene: Scene) -> Counter[str]:
    """How many things of each concept there are."""
    return Counter(bank.sprites[thing.row].label for thing in scene.things)
