"""A small bank of plain shapes, for tests of composed scenes."""

import numpy as np

from training.data.bank import SIDE, STYLE_FREE, Bank, Sprite, straight
from training.data.drawings import STYLES
from training.data.kinds import Noun
from training.data.recolour import PAINTS, main_colour

NOUNS = (
    Noun("red apple", "food", ("apple",), ("red apple",), "apples"),
    Noun("banana", "food", ("banana",), (), "bananas"),
    Noun("cat", "animal", ("cat",), (), "cats"),
    Noun("house", "building", ("house",), (), "houses"),
    Noun("grinning face", "face", ("smile",), (), "smiles"),
    Noun("top hat", "item", ("top hat",), (), "top hats"),
    Noun("crown", "item", ("crown",), (), "crowns"),
    Noun("graduation cap", "item", ("graduation cap",), (), "graduation caps"),
    Noun("woman’s hat", "item", ("straw hat",), (), "straw hats"),
    Noun("billed cap", "item", ("cap",), (), "caps"),
    Noun("glasses", "item", ("glasses",), (), "glasses"),
    Noun("sunglasses", "item", ("sunglasses",), (), "sunglasses"),
    Noun("sun", "sky", ("sun",), (), "suns"),
    Noun("chair", "upright", ("chair",), (), "chairs"),
)
FREE = (
    Noun("person", "figure", ("person",), (), "people"),
    Noun("cube", "solid", ("cube",), (), "cubes"),
)
COLOURS = list(PAINTS)


def small_bank() -> Bank:
    """A filled rectangle or ellipse a sprite, each label in its own colour and shape."""
    pixels, sprites = [], []

    def add(label: str, style: str, number: int, said: str = "", paint: str = "") -> None:
        height, width = (SIDE, SIDE) if number % 2 else (SIDE, SIDE // 2)
        canvas = np.zeros((SIDE, SIDE, 4), np.uint8)
        colour = PAINTS[paint or COLOURS[number % len(COLOURS)]]
        canvas[:height, :width, :3] = colour
        canvas[:height, :width, 3] = 255
        cut = canvas[:height, :width]
        main = main_colour(straight(cut), cut[..., 3])
        sprites.append(Sprite(len(sprites), label, style, height, width, main, said, paint))
        pixels.append(canvas)

    for number, noun in enumerate(NOUNS):
        for style in STYLES:
            add(noun.label, style, number)
    for paint in ("red", "blue"):
        add("cube", STYLE_FREE, 1, paint=paint)
    add("person", STYLE_FREE, 0, said="waving, red shirt, blue trousers")
    return Bank(np.stack(pixels), tuple(sprites), {n.label: n for n in (*NOUNS, *FREE)})
