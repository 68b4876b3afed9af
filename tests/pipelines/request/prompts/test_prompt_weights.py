"""The grammar of prompt weights: pure text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.request.prompts.prompt_weights import WeightedText, parse_weights

UP, DOWN = 1.1, round(1 / 1.1, 6)

# Text to its parts, each a list of (words, weight).
READINGS = {
    "a (red:1.2) apple": [[("a ", 1), ("red", 1.2), (" apple", 1)]],
    "(red) [red] ((red)) [[red]]": [[
        ("red", UP), (" ", 1), ("red", DOWN), (" ", 1), ("red", 1.21), (" ", 1),
        ("red", round(1 / 1.21, 6)),
    ]],
    "(a (b:2) c:0.5)": [[("a ", 0.5), ("b", 1), (" c", 0.5)]],
    "(red: .5 )": [[("red", 0.5)]],
    "(red:-1)": [[("red", -1)]],
    r"(a \(b\):2)": [[("a (b)", 2)]],
    "a (red": [[("a ", 1), ("red", UP)]],
    "a [red": [[("a ", 1), ("red", DOWN)]],
    "(a:b:1.5)": [[("a:b", 1.5)]],
    "a BREAK b": [[("a", 1)], [("b", 1)]],
    "(a BREAK b:2), c": [[("a", 2)], [("b", 2), (", c", 1)]],
    "BREAK a BREAK BREAK (b)": [[("a", 1)], [("b", UP)]],
}  # fmt: skip


@pytest.mark.parametrize("text", READINGS)
def test_weights_and_parts(text):
    assert parse_weights(text) == tuple(
        tuple(WeightedText(words, weight) for words, weight in part) for part in READINGS[text]
    )


PLAIN = {
    "a (red:1.0) apple": "a red apple",
    "([red])": "red",
    r"a \(red\) \[one\]": "a (red) [one]",
    r"C:\dir, no escape \ here": r"C:\dir, no escape \ here",
    "smile :) ]": "smile :) ]",
    "ratio 1:2, UNBREAKABLE, break": "ratio 1:2, UNBREAKABLE, break",
    "BREAK": "",
    "a BREAK": "a",
    "()": "",
}


@pytest.mark.parametrize("text", PLAIN)
def test_what_has_no_weight_is_plain(text):
    assert parse_weights(text) == PLAIN[text]


@given(st.text().filter(lambda text: not set(text) & set("()[]") and "BREAK" not in text))
def test_a_text_without_brackets_is_left_alone(text):
    assert parse_weights(text) is text


@given(st.text("ab, :\\()[]1.BREAK", max_size=30))
def test_every_text_has_a_reading_without_empty_pieces(text):
    found = parse_weights(text)
    if not isinstance(found, str):
        assert found and all(part and all(piece.text for piece in part) for part in found)


@given(st.text("ab (){}[]:1.", max_size=20))
def test_escaped_brackets_are_text(text):
    escaped = "".join(f"\\{c}" if c in "()[]" else c for c in text)
    assert parse_weights(escaped) == text
