"""The caption grammar and the concept list."""

import numpy as np
import pytest

from training.data.captions import BACKGROUND_NAMES, Wording, all_phrases, article, caption
from training.data.concepts import CONCEPT_FILE, Concept, parse_concepts, select_concepts
from training.data.synonyms import SYNONYMS
from training.judges.verdicts import make_asks

APPLE = Concept("1f34e", "red apple", ("apple",), ("fruit",))
PLAIN = Wording(
    name=0, tag=0, prefix=0, unnamed_style=0, style_first=0, named_white=0, background_first=0
)


def many(style: str, background: str, wording: Wording, count: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    return [caption(APPLE, style, background, wording, rng) for _ in range(count)]


def test_white_goes_unnamed_and_colours_never_do() -> None:
    assert not any("white" in text or "background" in text for text in many("3d", "white", PLAIN))
    for colour in BACKGROUND_NAMES[1:]:
        assert all(f"{colour}" in text.split("apple")[1] for text in many("3d", colour, PLAIN))


def test_name_then_style_then_background() -> None:
    for text in many("noto", "blue", PLAIN):
        assert text.index("red apple") < text.index("noto style") < text.index("blue")


def test_style_may_come_first_or_last() -> None:
    first = Wording(name=0, tag=0, prefix=0, style_first=1, background_first=0)
    assert all(t.index("flat style") < t.index("red apple") for t in many("flat", "red", first))
    last = Wording(name=0, tag=0, prefix=0, style_first=0, background_first=1)
    assert all(t.index("on") < t.index("flat style") for t in many("flat", "black", last, 40)
               if "on a" in t)  # fmt: skip


def test_only_the_default_style_goes_unnamed() -> None:
    silent = Wording(unnamed_style=1)
    assert not any("style" in text for text in many("3d", "red", silent))
    assert all("noto style" in text for text in many("noto", "red", silent))


def test_a_seed_decides_every_caption() -> None:
    concepts = [APPLE, Concept("2764", "red heart", ("heart",), ())]
    once, again = (list(all_phrases(concepts, 5, 7)) for _ in range(2))
    assert once == again
    assert once != list(all_phrases(concepts, 5, 8))


def test_articles() -> None:
    assert [article(word) for word in ("orange", "Apple", "blue", "")] == ["an", "an", "a", "a"]


def test_concept_lines() -> None:
    table = parse_concepts(["# faces", "", "red apple = apple, an apple  # fruit", "dog"])
    assert table == {"red apple": ("apple", "an apple"), "dog": ()}


@pytest.mark.parametrize("lines", [["dog", "dog"], ["dog = pup", "wolf = pup"], ["dog = dog"]])
def test_a_name_said_twice_is_an_error(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_concepts(lines)


def test_an_unknown_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="unicorn fish"):
        select_concepts({"unicorn fish": ()}, {"1": {"label": "dog", "tags": []}})


def test_shared_tags_and_said_names_are_no_tags() -> None:
    entries = {
        "1": {"label": "dog", "tags": ["pet", "puppy", "wolf"]},
        "2": {"label": "cat", "tags": ["pet", "kitten"]},
        "3": {"label": "wolf", "tags": []},
    }
    dog, cat, _ = select_concepts({"dog": (), "cat": (), "wolf": ()}, entries)
    assert dog.tags == ("puppy",)
    assert cat.tags == ("kitten",)


def test_the_shipped_list_parses_and_is_long_enough() -> None:
    table = parse_concepts(CONCEPT_FILE.read_text(encoding="utf-8").splitlines())
    assert len(table) >= 400


def test_evaluation_asks_each_concept_once_and_half_on_white() -> None:
    asks = make_asks([APPLE] * 100, 90)
    assert len({ask.concept for ask in asks}) == 90
    assert sum(ask.background == "white" for ask in asks) == 45
    assert {ask.background for ask in asks} == set(BACKGROUND_NAMES)
    assert all(("background" in ask.caption) == (ask.background != "white") for ask in asks)


def test_no_unseen_word_is_ever_said_of_a_picture() -> None:
    with CONCEPT_FILE.open(encoding="utf-8") as lines:
        table = parse_concepts(lines)
    said = {word for label, names in table.items() for n in (label, *names) for word in n.split()}
    assert set(SYNONYMS.values()) <= table.keys()
    assert not said & SYNONYMS.keys()
