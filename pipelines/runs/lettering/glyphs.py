"""Glyphs of a label: its clusters, each with a typeface that has it or with a stand-in."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import chain

import regex

from pipelines.runs.lettering.font_search import BASE, FontFile, fonts_with
from pipelines.runs.lettering.typeface import Typeface

# Joiners and variation selectors, which fonts may lack; tags of flags; marks of direction.
_SILENT = regex.compile(r"[\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef]")
_INVISIBLE = regex.compile(
    r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
_EMOJI = regex.compile(r"\p{Emoji_Presentation}|\ufe0f|[\U0001f1e6-\U0001f1ff]")
_CLUSTER = regex.compile(r"\X")
_HAN = regex.compile(r"[\p{Han}\u3000-\u303f\uff00-\uffef]")
_REGIONS = (
    ("JP", regex.compile(r"[\p{Hiragana}\p{Katakana}]")),
    ("KR", regex.compile(r"\p{Hangul}")),
    ("TC", regex.compile(r"\p{Bopomofo}")),
)


@dataclass(frozen=True, slots=True)
class Glyph:
    """One cluster of a text: what a reader takes for one sign.

    Attributes:
        text: what is drawn.
        face: which draws it.
    """

    text: str
    face: Typeface

    @property
    def blank(self) -> bool:
        """Whether it is white space."""
        return self.text.isspace()


class Case:
    """Case of type: the typefaces of one size, looked for as texts need them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.base = Typeface(BASE, size)
        self._faces = [self.base]
        self._known: dict[tuple[str, str], Typeface | None] = {}

    def paragraphs(self, text: str) -> list[list[Glyph]]:
        """Split a text at its line ends, each line into glyphs."""
        region = next((name for name, kind in _REGIONS if kind.search(text)), "SC")
        lines = regex.split(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", text)
        return [self._glyphs(_clean(line), region) for line in lines]

    def plain(self, text: str) -> list[Glyph]:
        """Glyphs of a text that the shipped font has."""
        return [Glyph(one, self.base) for one in text]

    def _glyphs(self, line: str, region: str) -> list[Glyph]:
        found: list[Glyph] = []
        stood_in = False
        for cluster in _CLUSTER.findall(line):
            face = self._face(cluster, region)
            if face is not None:
                found.append(Glyph(cluster, face))
            else:
                # Two in a row are told apart, and a line may break between them.
                found += self.plain((" " if stood_in else "") + _code(cluster))
            stood_in = face is None
        return found

    def _face(self, cluster: str, region: str) -> Typeface | None:
        """The typeface for a cluster; None where no font has it."""
        key = (cluster, region if _HAN.search(cluster) else "")
        if key not in self._known:
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, cluster: str, region: str) -> Typeface | None:
        needed = _SILENT.sub("", cluster) or cluster
        for colour in (True, False) if _EMOJI.search(cluster) else (False, True):
            # Shapes of Chinese characters differ by region: not the next best font.
            opened = (one for one in self._faces if one.has(needed) and not region)
            others = (self._open(file) for file in fonts_with(needed, colour, region))
            for face in chain(opened, others):
                if face is not None and face.colour == colour and face.shows(cluster):
                    return face
        return None

    def _open(self, file: FontFile) -> Typeface | None:
        """The typeface of a file, opened once; None where it cannot be."""
        for known in self._faces:
            if known.file == file:
                return known
        try:
            face = Typeface(file, self.size)
        except OSError:
            return None
        self._faces.append(face)
        return face


def _clean(line: str) -> str:
    """A line with composed letters, tabs as blanks, and other control characters by their code."""
    line = _INVISIBLE.sub("", line.replace("\t", " "))
    shown = (
        f"\\x{ord(one):02x}" if unicodedata.category(one) == "Cc" else one
        for one in unicodedata.normalize("NFC", line)
    )
    return "".join(shown)


def _code(cluster: str) -> str:
    """What stands for a cluster that no font has: the numbers of its characters."""
    needed = _SILENT.sub("", cluster) or cluster
    return "U+" + "+".join(f"{ord(one):04X}" for one in needed)
