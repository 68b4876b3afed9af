"""Typesetter: breaks labels into measured lines, and draws them in every direction of writing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from pipelines.runs.lettering import bidi
from pipelines.runs.lettering.glyphs import Case, Glyph
from pipelines.runs.lettering.typeface import Typeface
from pipelines.runs.lettering.words import Word, fitting, split

if TYPE_CHECKING:
    from PIL.Image import Image

ELLIPSIS = "…"
_CHARACTERS_MAX = 20_000
"""Of a label; what stands beyond is not measured, since it would never be shown."""


@dataclass(frozen=True, slots=True)
class Line:
    """Line of a label: runs as they stand from left to right, and their room in pixels."""

    runs: tuple[tuple[Typeface, str, bool], ...]
    width: float
    ascent: int
    descent: int

    @property
    def height(self) -> int:
        """Pixels from its top to its bottom."""
        return self.ascent + self.descent


class Typesetter:
    """Typesetter of labels at one size, in pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._case = Case(size)
        self._blank = tuple(self._case.plain(" "))
        self._ellipsis = self._word(self._case.plain(ELLIPSIS))
        self._between = self._line(self._blank, False).width

    def widest_word(self, texts: Sequence[str]) -> float:
        """Measure the widest word of some labels."""
        words = (word for text in texts for word in self._words(text, float("inf")))
        return max((word.width for word in words), default=0.0)

    def widest_line(self, texts: Sequence[str]) -> float:
        """Measure the widest label, each of its hard lines unbroken."""
        widest = 0.0
        for text in texts:
            reached = 0.0
            for word in self._words(text):
                reached = word.width + (0.0 if word.first else reached + self._before(word))
                widest = max(widest, reached)
        return widest

    def set_labels(self, texts: Sequence[str], width: float, most: int) -> list[list[Line]]:
        """Break labels into lines of at most `width` pixels, at most `most` a label.

        Of a label that is longer, the words by which it differs from the others are shown, then
        its first ones; an ellipsis stands for what is left out.
        """
        labels = [self._words(text, width) for text in texts]
        found = [self._wrap(words, width) for words in labels]
        if all(len(lines) <= most for lines in found):
            return found
        wanted = _differences([[word.text for word in words] for words in labels])
        return [
            lines if len(lines) <= most else self._shortened(words, keep, width, most)
            for words, lines, keep in zip(labels, found, wanted, strict=True)
        ]

    def draw(self, page: Image, lines: Sequence[Line], box: tuple[int, int, int, int]) -> None:
        """Draw lines in the middle of a box of a page: left, top, width, height."""
        left, top, width, height = box
        y = top + (height - sum(line.height for line in lines)) // 2
        for line in lines:
            x = left + (width - line.width) / 2
            for face, text, leftward in line.runs:
                face.draw(page, (x, y + line.ascent), text, leftward)
                x += face.width(text, leftward)
            y += line.height

    def _words(self, text: str, width: float = float("inf")) -> list[Word]:
        """The words of a label; one that is wider than a line is several."""
        found: list[Word] = []
        for glyphs in self._case.paragraphs(text[:_CHARACTERS_MAX]):
            base = bidi.levels([glyph.text for glyph in glyphs])[0] if glyphs else 0
            first = bool(found)
            for word, blank in split(glyphs):
                for number, part in enumerate(self._fitting(word, width)):
                    made = self._word(part, blank=blank and number == 0, leftward=bool(base))
                    found.append(replace(made, first=first))
                    first = False
        return found

    def _fitting(self, word: Sequence[Glyph], width: float) -> Iterable[Sequence[Glyph]]:
        """A word, or its pieces where it is too wide, with room for an ellipsis at both ends."""
        if self._measure(word) <= width:
            return [word]
        return fitting(word, width - min(width / 2, 2 * self._ellipsis.width), self._measure)

    def _word(self, glyphs: Sequence[Glyph], blank: bool = False, leftward: bool = False) -> Word:
        return Word(tuple(glyphs), self._measure(glyphs), blank, leftward=leftward)

    def _measure(self, glyphs: Sequence[Glyph]) -> float:
        return self._line(glyphs, False).width

    def _wrap(self, words: Sequence[Word], width: float) -> list[Line]:
        rows: list[list[Word]] = []
        reached = 0.0
        for word in words:
            more = self._before(word) + word.width
            if rows and not word.first and reached + more <= width:
                rows[-1].append(word)
                reached += more
            else:
                rows.append([word])
                reached = word.width
        return [self._joined(row) for row in rows]

    def _before(self, word: Word) -> float:
        return self._between if word.blank else 0.0

    def _joined(self, words: Sequence[Word]) -> Line:
        glyphs: list[Glyph] = []
        for word in words:
            glyphs += self._blank if word.blank and glyphs else ()
            glyphs += word.glyphs
        return self._line(glyphs, words[0].leftward)

    def _line(self, glyphs: Sequence[Glyph], leftward: bool) -> Line:
        """Order glyphs as they are seen and measure them."""
        levels = bidi.levels([glyph.text for glyph in glyphs], leftward)[1]
        runs, run_levels = [], []
        for (level, face), group in groupby(
            zip(levels, glyphs, strict=True), key=lambda one: (one[0], one[1].face)
        ):
            text = "".join(glyph.text for _, glyph in group)
            runs.append((face, text, level % 2 == 1))
            run_levels.append(level)
        runs = [runs[place] for place in bidi.visual(run_levels)]
        heights = [glyph.face.heights(glyph.text) for glyph in glyphs]
        return Line(
            tuple(runs),
            sum(face.width(text, leftward) for face, text, leftward in runs),
            max([self.size, *(above for above, _ in heights)]),
            max([round(self.size * 0.3), *(below for _, below in heights)]),
        )

    def _shortened(
        self, words: Sequence[Word], wanted: Sequence[int], width: float, most: int
    ) -> list[Line]:
        """Leave words out until the rest fits; what is wanted is left out last."""
        order: list[int] = []
        for place in wanted:
            order += [place, place - 1, place + 1]
        order = [place for place in dict.fromkeys([*order, *range(len(words))])
                 if 0 <= place < len(words)]  # fmt: skip
        room, count = width * most, 0
        while count < len(order) and room > 0:
            room -= words[order[count]].width + self._before(words[order[count]])
            count += 1
        while True:
            lines = self._wrap(self._with_gaps(words, sorted(order[:count])), width)
            if len(lines) <= most or count <= 1:
                return lines[:most]
            count -= 1

    def _with_gaps(self, words: Sequence[Word], kept: Sequence[int]) -> list[Word]:
        """The kept words, an ellipsis for each gap."""
        ends = [-1, *kept, len(words)]
        found: list[Word] = []
        for before, place in pairwise(ends):
            if place > before + 1:
                found.append(replace(self._ellipsis, blank=False, leftward=words[0].leftward))
            if place < len(words):
                word = words[place]
                found.append(replace(word, first=word.first and place == before + 1))
        return found


def _differences(labels: Sequence[Sequence[str]]) -> list[list[int]]:
    """For each label, the numbers of the words at which it parts from others, the latest first."""
    order = sorted(range(len(labels)), key=lambda i: list(labels[i]))
    shared = [_common(labels[a], labels[b]) for a, b in pairwise(order)]
    found: list[list[int]] = [[] for _ in labels]
    for place, label in enumerate(order):
        last = len(labels[label]) - 1
        parts: set[int] = set()
        for way in (reversed(shared[:place]), shared[place:]):
            least: int | None = None
            for common in way:
                least = common if least is None else min(least, common)
                parts.add(min(least, last))
                if least == 0:
                    break
        found[label] = sorted(parts, reverse=True)
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two labels begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
