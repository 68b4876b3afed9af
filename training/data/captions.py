"""The caption grammar: `[article] name[, style][, background]`, said in many ways.

When no style is named the drawing is in 3d style; when no background is named it is white. So a
short prompt has one answer, and a longer one changes exactly what it names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.colours import BACKGROUNDS
from training.data.concepts import Concept
from training.data.drawings import STYLES

DEFAULT_STYLE = "3d"
BACKGROUND_NAMES: tuple[str, ...] = ("white", *BACKGROUNDS)
PREFIXES = ("a picture of", "a drawing of", "an emoji of", "an icon of", "a photo of")


@dataclass(frozen=True)
class Wording:
    """How often the grammar chooses which words.

    Args:
        name: share of captions that use a further name, where the concept has one.
        tag: share that use a tag, where the concept has one of its own.
        near: share that use a word of nearly the same meaning, where the concept has one.
        article: share with "a", "an" or "the".
        prefix: share that start with "a picture of" or the like.
        unnamed_style: share of drawings in the default style whose style is not said.
        style_first: share of named styles that stand before the name.
        named_white: share of white backgrounds that are said.
        background_first: share of named backgrounds that stand before the style.
    """

    name: float = 0.4
    tag: float = 0.06
    near: float = 0.08
    article: float = 0.7
    prefix: float = 0.06
    unnamed_style: float = 0.5
    style_first: float = 0.3
    named_white: float = 0.15
    background_first: float = 0.15


def article(name: str) -> str:
    """ "an" before a vowel letter, else "a"."""
    return "an" if name[:1].lower() in tuple("aeiou") else "a"


def say_name(concept: Concept, wording: Wording, rng: np.random.Generator) -> str:
    """The label, a further name or a tag, with or without an article."""
    name = concept.label
    kind = rng.random()
    if kind < wording.name and concept.names:
        name = concept.names[rng.integers(len(concept.names))]
    elif kind > 1 - wording.tag and concept.tags:
        name = concept.tags[rng.integers(len(concept.tags))]
    elif kind > 1 - wording.tag - wording.near and concept.near:
        name = concept.near[rng.integers(len(concept.near))]
    if rng.random() < wording.article:
        name = f"{article(name) if rng.random() < 0.85 else 'the'} {name}"
    if rng.random() < wording.prefix:
        name = f"{PREFIXES[rng.integers(len(PREFIXES))]} {name}"
    return name


def say_background(name: str, rng: np.random.Generator) -> str:
    """ "on a blue background", "blue background" or "on blue"."""
    forms = (f"on {article(name)} {name} background", f"{name} background", f"on {name}")
    return forms[rng.choice(3, p=(0.7, 0.2, 0.1))]


def caption(
    concept: Concept, style: str, background: str, wording: Wording, rng: np.random.Generator
) -> str:
    """One way to ask for a drawing of `concept` in `style` on `background`.

    Args:
        style: one of "3d", "flat", "noto".
        background: "white" or one of the eight named colours.
    """
    parts = [say_name(concept, wording, rng)]
    if style != DEFAULT_STYLE or rng.random() >= wording.unnamed_style:
        form = f"{style} style" if rng.random() < 0.85 else f"in {style} style"
        parts.insert(0 if rng.random() < wording.style_first else 1, form)
    if background != "white" or rng.random() < wording.named_white:
        said = say_background(background, rng)
        last = len(parts)
        parts.insert(last - (rng.random() < wording.background_first), said)
    separator = ", " if rng.random() < 0.8 else " "
    return separator.join(parts)


def all_phrases(concepts: Sequence[Concept], repeats: int, seed: int) -> Iterator[str]:
    """Captions of every concept, style and some backgrounds, then its bare names and tags.

    The tokenizer learns its merges from these.
    """
    rng = np.random.default_rng(seed)
    wording = Wording()
    for concept in concepts:
        for style in STYLES:
            for _ in range(repeats):
                background = BACKGROUND_NAMES[rng.integers(len(BACKGROUND_NAMES))]
                yield caption(concept, style, background, wording, rng)
        yield from (concept.label, *concept.names, *concept.tags)
