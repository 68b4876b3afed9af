"""Bidirectional order: what readers of each script see, against cases worked out by hand."""

from __future__ import annotations

import pytest

from pipelines.runs.lettering.bidi import levels, visual


def seen(text: str, leftward: bool | None = None) -> str:
    """Characters as they stand from left to right; brackets are turned when they are drawn."""
    return "".join(text[place] for place in visual(levels(text, leftward)[1]))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("a red apple 12", "a red apple 12"),
        ("אבג", "גבא"),
        ("abc אבג def", "abc גבא def"),
        ("אבג abc דהו", "והד abc גבא"),
        # Numbers keep their digits' order, and stand where they are read.
        ("אב 12 גד", "דג 12 בא"),
        ("אב 3.5% גד", "דג 3.5% בא"),
        ("abc אב 12", "abc 12 בא"),
        # Arabic numbers are parted by a hyphen, those after Hebrew are joined by it.
        ("اب 12-15", "15-12 با"),
        ("אב 12-15", "12-15 בא"),
        # Both brackets of a pair go with what they hold, or with what is before them.
        ("אב test (a) גד", "דג test (a) בא"),
        ("abc (אב) def", "abc (בא) def"),
        ("אב (abc) גד", "דג )abc( בא"),
        ("a (b אב) c", "a (b בא) c"),
    ],
)
def test_text_stands_as_it_is_read(text: str, order: str) -> None:
    assert seen(text) == order


def test_a_paragraph_runs_as_its_first_letter_or_as_told() -> None:
    assert levels("12 אב abc")[0] == 1 and levels("12 abc אב")[0] == 0 and levels("12")[0] == 0
    assert seen("abc אב", leftward=True) == "בא abc"
