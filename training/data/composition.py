"""Composed scenes: what is in them, where, how large and in what colours, from a seed.

A `Scene` is everything that decides one picture; `canvas.draw_scene` makes it, `phrases.caption`
says a random part of it. Pairs of `holdout` never occur, unless they are asked for.
"""

from dataclasses import dataclass, replace

import numpy as np

from training.data import placement
from training.data.backdrops import PLACES, Setting, random_setting
from training.data.bank import STYLE_FREE, Bank
from training.data.drawings import STYLES
from training.data.holdout import held_out, held_out_colour
from training.data.kinds import SUPPORTS, WEARERS
from training.data.placement import Box
from training.data.recolour import PAINTS

LAYOUTS = ("single", "count", "pair", "relation", "group")
RELATIONS = ("left of", "above", "on", "in front of")
LIGHTS: dict[str, tuple[float, float, float]] = {
    "": (1.0, 1.0, 1.0),
    "warm": (1.06, 0.92, 0.74),
    "cold": (0.84, 0.95, 1.1),
    "dim": (0.58, 0.56, 0.62),
}
# What a face may wear, and where: see `canvas.worn_box`.
HATS = ("top hat", "crown", "graduation cap", "woman’s hat", "billed cap")
SPECTACLES = ("glasses", "sunglasses")
# As `drawings.INNER` of `drawings.SIZE`.
SETTLED_SIZE = 0.875


@dataclass(frozen=True)
class Shares:
    """How often what is drawn.

    Args:
        layouts: by `LAYOUTS`.
        kinds: of things that are emoji drawings, drawn people, solids.
        settings: plain, gradient, a place.
        one_style: scenes whose things all have one style.
        painted: things in another colour than their own, where they can be.
        worn: faces with a hat or glasses.
        aimed: single things put in a named position.
        turned: things turned by up to `steep` degrees.
        lit: places under another light.
        settled: scenes of one drawing as the shipped model knows it: upright, in the middle, on a
            plain field. A model that starts with the shipped weights keeps its words by them.
    """

    layouts: tuple[float, ...] = (0.42, 0.17, 0.12, 0.21, 0.08)
    kinds: tuple[float, ...] = (0.86, 0.08, 0.06)
    settings: tuple[float, ...] = (0.4, 0.12, 0.48)
    one_style: float = 0.85
    painted: float = 0.3
    worn: float = 0.35
    aimed: float = 0.5
    turned: float = 0.5
    steep: float = 18.0
    lit: float = 0.35
    settled: float = 0.0


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Args:
        row: of the bank.
        paint: its new colour, a key of `PAINTS`; "" for its own.
        box: where it is, before it is turned.
        mirrored: left for right.
        turn: degrees, anticlockwise.
        worn: label of what it wears, "" for nothing.
    """

    row: int
    box: Box
    paint: str = ""
    mirrored: bool = False
    turn: float = 0.0
    worn: str = ""


@dataclass(frozen=True)
class Scene:
    """Everything that decides one picture.

    Args:
        things: in the order they are said; a relation holds from the first to the second.
        layout: one of `LAYOUTS`.
        relation: one of `RELATIONS`, "" for none.
        setting: where it plays.
        light: a key of `LIGHTS`.
        order: the things from back to front, by number.
        shadows: whether things throw a shadow on the ground below them.
    """

    things: tuple[Thing, ...]
    layout: str
    relation: str
    setting: Setting
    light: str
    order: tuple[int, ...]
    shadows: bool


class Composer:
    """Draws scenes at random.

    Args:
        bank: the sprites.
        labels: concepts that may occur, among the bank's emoji nouns; all if None.
        shares: how often what occurs.
    """

    def __init__(
        self, bank: Bank, labels: tuple[str, ...] | None = None, shares: Shares | None = None
    ) -> None:
        self.bank, self.shares = bank, shares or Shares()
        emoji = {label for label, style in bank.rows if style in STYLES}
        self.labels = tuple(sorted(emoji if labels is None else emoji & set(labels)))
        self._solids = tuple(n.label for n in bank.nouns.values() if n.kind == "solid")

    def scene(self, seed: int | tuple[int, ...]) -> Scene:
        """The scene of a seed."""
        rng = np.random.default_rng(seed)
        if rng.random() < self.shares.settled:
            return self._settled(rng)
        layout = str(rng.choice(LAYOUTS, p=self.shares.layouts))
        while True:
            labels = self._labels(layout, rng)
            setting = self._setting(labels, rng)
            relation = str(rng.choice(RELATIONS)) if layout == "relation" else ""
            things = self._placed(labels, layout, relation, setting, rng)
            if things is not None:
                break
        light = ""
        # The night has its own light.
        if setting.kind in PLACES and setting.kind != "night" and rng.random() < self.shares.lit:
            light = str(rng.choice(list(LIGHTS)[1:]))
        order = self._order(things, relation)
        return Scene(things, layout, relation, setting, light, order, bool(rng.random() < 0.5))

    def _settled(self, rng: np.random.Generator) -> Scene:
        """One drawing in the middle of a plain field."""
        label = self.labels[int(rng.integers(len(self.labels)))]
        setting = random_setting("plain", rng)
        while not setting.name or held_out("setting", label, setting.name):
            setting = random_setting("plain", rng)
        row = self.bank.rows[label, str(rng.choice(STYLES))][0]
        sprite = self.bank.sprites[row]
        box = placement.sized(placement.shape_of(sprite.height, sprite.width), SETTLED_SIZE)
        return Scene((Thing(row, box),), "single", "", setting, "", (0,), False)

    def _label(self, rng: np.random.Generator) -> str:
        kind = rng.choice(3, p=self.shares.kinds)
        if kind == 0:
            return self.labels[int(rng.integers(len(self.labels)))]
        return "person" if kind == 1 else self._solids[int(rng.integers(len(self._solids)))]

    def _countable(self, rng: np.random.Generator) -> str:
        while not self.bank.nouns[label := self._label(rng)].countable:
            pass
        return label

    def _labels(self, layout: str, rng: np.random.Generator) -> list[str]:
        """The concepts of the things, no two of a held-out pair."""
        if layout == "single":
            return [self._label(rng)]
        if layout == "count":
            return [self._countable(rng)] * int(rng.integers(2, 5))
        while True:
            count = 2 if layout != "group" else int(rng.integers(3, 5))
            found = [self._label(rng) for _ in range(count)]
            if layout == "group" and rng.random() < 0.5:
                # "Two cats and a dog": the first comes again.
                found[0] = found[1] = self._countable(rng)
            pairs = {(a, b) for a in found for b in found if a < b}
            distinct = len(set(found)) == (len(found) if layout != "group" else len(set(found)))
            if distinct and pairs and not any(held_out("concept", a, b) for a, b in pairs):
                return found

    def _setting(self, labels: list[str], rng: np.random.Generator) -> Setting:
        """A setting that none of the concepts is kept from."""
        while True:
            kind = str(rng.choice(["plain", "gradient", "place"], p=self.shares.settings))
            setting = random_setting(str(rng.choice(PLACES)) if kind == "place" else kind, rng)
            if not any(held_out("setting", label, setting.name) for label in labels):
                return setting

    def _paint(self, row: int, setting: Setting, rng: np.random.Generator) -> str:
        """A new colour for a sprite that can have one, or "" to leave it."""
        sprite = self.bank.sprites[row]
        if sprite.style == STYLE_FREE or not sprite.main.changes:
            return ""
        if rng.random() >= self.shares.painted:
            return ""
        natural = self.bank.natural.get(sprite.label, frozenset())
        around = setting.colours if setting.kind == "plain" else ()
        allowed = [
            paint
            for paint in PAINTS
            if paint not in around and not held_out_colour(sprite.label, paint, natural)
        ]
        return str(rng.choice(allowed))

    def _sprites(
        self, labels: list[str], setting: Setting, rng: np.random.Generator
    ) -> list[tuple[int, str]]:
        """Row and paint of each thing; the same for equal concepts."""
        one = str(rng.choice(STYLES)) if rng.random() < self.shares.one_style else ""
        chosen: dict[str, tuple[int, str]] = {}
        found = []
        for label in labels:
            if label not in chosen or self.bank.nouns[label].kind == "figure":
                free = self.bank.nouns[label].kind in ("figure", "solid")
                style = STYLE_FREE if free else one or str(rng.choice(STYLES))
                rows = self.bank.rows[label, style]
                row = rows[int(rng.integers(len(rows)))]
                while self._lost(row, setting):
                    row = rows[int(rng.integers(len(rows)))]
                chosen[label] = (row, self._paint(row, setting, rng))
            found.append(chosen[label])
        return found

    def _lost(self, row: int, setting: Setting) -> bool:
        """Whether a solid would not be seen on a field of its own colour."""
        paint = self.bank.sprites[row].paint
        return bool(paint) and setting.kind == "plain" and paint in setting.colours

    def _placed(
        self,
        labels: list[str],
        layout: str,
        relation: str,
        setting: Setting,
        rng: np.random.Generator,
    ) -> tuple[Thing, ...] | None:
        """The things in their places, or None where no room was found."""
        chosen = self._sprites(labels, setting, rng)
        sprites = [self.bank.sprites[row] for row, _ in chosen]
        shapes = [placement.shape_of(s.height, s.width) for s in sprites]
        kinds = [self.bank.nouns[label].kind for label in labels]
        if relation in ("on", "in front of") and kinds[1] not in SUPPORTS and rng.random() < 0.7:
            return None
        if relation:
            boxes = placement.related(relation, shapes, setting.horizon, kinds, rng)
        elif len(labels) == 1:
            aimed = rng.random() < self.shares.aimed
            boxes = placement.single(shapes[0], kinds[0], setting.horizon, aimed, rng)
        else:
            equal = layout == "count"
            boxes = placement.scattered(shapes, kinds, setting.horizon, equal, rng)
        if boxes is None:
            return None
        things = []
        for (row, paint), box, kind in zip(chosen, boxes, kinds, strict=True):
            steep = 0.3 if kind in ("figure", "solid", "building", "person") else 1.0
            turned = rng.random() < self.shares.turned
            turn = float(rng.normal(0, self.shares.steep / 2)) * steep * turned
            mirrored = bool(rng.random() < 0.5)
            things.append(Thing(row, box, paint, mirrored, turn))
        wears = layout == "single" and kinds[0] in WEARERS and rng.random() < self.shares.worn
        if wears and boxes[0].size > 0.3:
            things[0] = self._dressed(things[0], rng)
        return tuple(things)

    def _dressed(self, thing: Thing, rng: np.random.Generator) -> Thing:
        """The same with a hat or glasses, small enough to leave room for the hat."""
        worn = str(rng.choice(HATS if rng.random() < 0.65 else SPECTACLES))
        label = self.bank.sprites[thing.row].label
        if held_out("concept", label, worn):
            return thing
        box = thing.box
        if worn in HATS:
            size = min(box.size, 0.6)
            middle = box.resized(size / box.size)
            low = float(np.clip(middle.y, size * 0.95, max(size * 0.95, 0.99 - size / 2)))
            box = replace(middle, y=low)
        return replace(thing, box=box, worn=worn, turn=thing.turn / 3)

    @staticmethod
    def _order(things: tuple[Thing, ...], relation: str) -> tuple[int, ...]:
        """From back to front: lower feet are nearer; what stands on or before comes last."""
        if relation in ("on", "in front of"):
            return (1, 0)
        feet = [thing.box.y + thing.box.height / 2 for thing in things]
        return tuple(int(i) for i in np.argsort(feet, kind="stable"))
