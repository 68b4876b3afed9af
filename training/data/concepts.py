"""The concepts the shipped model knows: `concepts.txt`, with the emoji tags nobody else has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONCEPT_FILE = Path(__file__).with_name("concepts.txt")


@dataclass(frozen=True)
class Concept:
    """One thing that can be drawn.

    Args:
        code: the emoji's plain hexcode; with a style it names a drawing.
        label: the emojibase label.
        names: further names from `concepts.txt`.
        tags: emojibase tags that no other concept has as label, name or tag.
        near: English words that mean nearly this, by a sentence model (`training.data.lexicon`).
    """

    code: str
    label: str
    names: tuple[str, ...]
    tags: tuple[str, ...]
    near: tuple[str, ...] = ()


def parse_concepts(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Label to further names, in the file's order.

    Raises: ValueError: if a label or a name stands there twice.
    """
    table: dict[str, tuple[str, ...]] = {}
    said: set[str] = set()
    for line in lines:
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        label, _, rest = text.partition("=")
        names = tuple(name.strip() for name in rest.split(",") if name.strip())
        label = label.strip()
        for name in (label, *names):
            if name in said:
                raise ValueError(f"concepts.txt says {name!r} twice")
            said.add(name)
        table[label] = names
    return table


def select_concepts(
    table: Mapping[str, tuple[str, ...]], entries: Mapping[str, Mapping[str, Any]]
) -> list[Concept]:
    """The concepts of a table, found among emojibase entries (plain code to label and tags).

    Raises: ValueError: if a label is not among the entries.
    """
    code_of = {entry["label"]: code for code, entry in entries.items()}
    missing = [label for label in table if label not in code_of]
    if missing:
        raise ValueError(f"no emoji has these labels: {missing}")
    counts = Counter(tag for label in table for tag in entries[code_of[label]]["tags"])
    said = {name.lower() for label, names in table.items() for name in (label, *names)}
    concepts = []
    for label, names in table.items():
        tags = entries[code_of[label]]["tags"]
        own = tuple(t for t in tags if counts[t] == 1 and t.lower() not in said and len(t) > 2)
        concepts.append(Concept(code_of[label], label, names, own))
    return concepts


def load_concepts(entries: Mapping[str, Mapping[str, Any]]) -> list[Concept]:
    """The concepts of `concepts.txt`."""
    with CONCEPT_FILE.open(encoding="utf-8") as lines:
        return select_concepts(parse_concepts(lines), entries)
