"""Words of a label: where its lines may break, in every script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import regex

from pipelines.runs.lettering.glyphs import Glyph

# Scripts that write no blanks between words: a line may break after any sign.
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\p{Emoji_Presentation}\u3000-\u303f\uff00-\uff60]"
)
_NEVER_FIRST = set(
    "、。，．：；？！）」』】〉》〕］｝ー々ゝゞっゃゅょァィゥェォッャュョヮ・…ๆฯ)]},.;:!?%"
)
_NEVER_LAST = set("（「『【〈《〔［｛([{")
_BREAK_AFTER = set("-/\\_,;:|&=–—.")


@dataclass(frozen=True, slots=True)
class Word:
    """Glyphs that stay on one line.

    Attributes:
        width: in pixels.
        blank: whether white space stands before it.
        first: whether a line must begin with it.
        leftward: whether its paragraph runs from right to left.
    """

    glyphs: tuple[Glyph, ...]
    width: float
    blank: bool = False
    first: bool = False
    leftward: bool = False

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(glyph.text for glyph in self.glyphs)


def split(glyphs: Sequence[Glyph]) -> Iterator[tuple[list[Glyph], bool]]:
    """Yield the words of a line, and whether white space stands before each."""
    word: list[Glyph] = []
    blank = False
    for glyph in glyphs:
        if glyph.blank:
            if word:
                yield word, blank
            word, blank = [], True
            continue
        if word and _parts(word[-1], glyph):
            yield word, blank
            word, blank = [], False
        word.append(glyph)
    if word:
        yield word, blank


def _parts(one: Glyph, other: Glyph) -> bool:
    """Tell whether a line may break between two signs that no blank parts."""
    if other.text[0] in _NEVER_FIRST or one.text[-1] in _NEVER_LAST:
        return False
    return bool(_UNSPACED.search(one.text) or _UNSPACED.search(other.text))


def fitting(
    glyphs: Sequence[Glyph], width: float, measure: Callable[[Sequence[Glyph]], float]
) -> Iterator[Sequence[Glyph]]:
    """Yield pieces of a word that is too wide, each as wide as fits, broken where it reads best."""
    rest = glyphs
    while rest:
        count, room = 0, width
        while count < len(rest) and (room >= 0 or count < 1):
            room -= measure(rest[count : count + 1])
            count += 1
        while count > 1 and measure(rest[:count]) > width:
            count -= 1
        if count < len(rest):
            good = [i for i in range(count // 2, count) if rest[i].text in _BREAK_AFTER]
            count = good[-1] + 1 if good else count
        yield rest[:count]
        rest = rest[count:]
