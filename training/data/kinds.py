"""Table of the concepts that scenes are composed of: `nouns.txt`, with their names.

The kind says where a thing belongs (on the ground, in the sky) and what it may wear.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.data.concepts import CONCEPT_FILE, parse_concepts
from training.data.recolour import PAINTS

NOUN_FILE = Path(__file__).with_name("nouns.txt")
KINDS = (
    "face", "muzzle", "person", "animal", "flyer", "swimmer", "boat", "plant", "food", "sky",
    "building", "vehicle", "upright", "item", "figure", "solid",
)  # fmt: skip
GROUND = frozenset(
    ("person", "animal", "plant", "building", "vehicle", "upright", "figure", "solid", "boat")
)
SKY = frozenset(("sky", "flyer"))
SUPPORTS = frozenset(("building", "vehicle", "upright", "solid", "boat"))
WEARERS = frozenset(("face", "muzzle"))
# Words that belong to one colour: such a name is said only where the drawing has its own colours.
COLOUR_WORDS = frozenset((*PAINTS, "golden", "gold", "gray", "straw"))


@dataclass(frozen=True)
class Noun:
    """What one concept is called.

    Args:
        label: of `concepts.txt`; with a style it names a drawing.
        kind: one of `KINDS`.
        names: singular, the first the plainest, none of a colour.
        own: names that speak of the colour the drawings have.
        plural: of the first name.
    """

    label: str
    kind: str
    names: tuple[str, ...]
    own: tuple[str, ...] = ()
    plural: str = ""

    @property
    def countable(self) -> bool:
        """Whether one can say "two" of it: not of bread, nor of jeans."""
        return self.names[0].split()[-1].lower() not in PLURAL_ONLY | MASS


def plural_of(name: str) -> str:
    """The regular plural; "s" names of pairs and heaps stay as they are."""
    last = name.rsplit(" ", 1)[-1]
    if last in PLURAL_ONLY or last in MASS:
        return name
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


# Last words of names that are plurals already, or have none.
PLURAL_ONLY = frozenset(
    """glasses sunglasses jeans shorts trousers gloves socks scissors grapes cherries pancakes
    noodles fries peanuts blueberries sparkles fireworks swords headphones skis chains bubbles
    maracas chopsticks briefs shoes slippers bags cutlery flowers books frames beans masks biceps
    dolls goggles lips keys eyes heart-eyes columns horns""".split()  # noqa: SIM905
)
# Last words of names that take neither "a" nor a number.
MASS = frozenset(
    """bacon sushi popcorn bread broccoli spaghetti pasta lettuce cheese milk curry salad stew soda
    salt butter garlic badminton lightning champagne whisky dna poop yarn money wine beer coffee
    ice wood corn paella chocolate ramen santa saturn earth tennis golf honey underwear soap
    pudding gyoza meat paper love rain""".split()  # noqa: SIM905
)


def parse_kinds(lines: Iterable[str], further: Mapping[str, tuple[str, ...]]) -> tuple[Noun, ...]:
    """The nouns of `nouns.txt`, with the further names of `concepts.txt`.

    Raises: ValueError: if a label is unknown or stands there twice, or a kind is unknown.
    """
    kind, found = "", {}
    for line in lines:
        text = line.split("#", 1)[0].strip()
        if text.startswith("["):
            kind = text.strip("[]")
            if kind not in KINDS:
                raise ValueError(f"nouns.txt knows no kind {kind!r}")
            continue
        for entry in filter(None, (part.strip() for part in text.split(","))):
            head, _, plural = entry.partition("+")
            label, _, noun = head.partition("=")
            if label not in further or label in found:
                raise ValueError(f"nouns.txt: {label!r} is unknown or stands there twice")
            found[label] = _noun(label, kind, noun, plural, further[label])
    return tuple(found.values())


def _noun(label: str, kind: str, noun: str, plural: str, names: tuple[str, ...]) -> Noun:
    every = [n for n in dict.fromkeys((noun, label, *names)) if n]
    coloured = [n for n in every if COLOUR_WORDS & set(n.lower().split())]
    plain = [n for n in every if n not in coloured] or [noun or label]
    return Noun(label, kind, tuple(plain), tuple(coloured), plural or plural_of(plain[0]))


def load_nouns() -> tuple[Noun, ...]:
    """All nouns of `nouns.txt`."""
    with CONCEPT_FILE.open(encoding="utf-8") as lines:
        further = parse_concepts(lines)
    with NOUN_FILE.open(encoding="utf-8") as lines:
        return parse_kinds(lines, further)
