"""Prompts by step and by clause, as AUTOMATIC1111's web UI documents them."""

from __future__ import annotations

import time

import pytest

from pipelines.errors import InvalidRequest
from pipelines.request.prompts.prompt_schedule import (
    changes_meaning,
    scheduled,
    texts_of,
    version_mark,
)


def spans(prompt: str, steps: int = 10) -> list[tuple[int, str]]:
    return [(span.last, span.text) for span in scheduled(prompt, steps)[0].spans]


@pytest.mark.parametrize(
    ("prompt", "by_step"),
    [
        # The examples of the web UI's own parser, at ten steps.
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[fe|]male", [(i, "male" if i % 2 == 0 else "female") for i in range(1, 11)]),
        # And more of the kind.
        ("[a::0.3]b", [(3, "ab"), (10, "b")]),
        ("[a:b:0.25]", [(2, "a"), (10, "b")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a]", [(10, "[a]")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        (r"a \[b:c:3\] d", [(10, r"a \[b:c:3\] d")]),
        (r"[a\:x:b:3]", [(3, r"a\:x"), (10, "b")]),
        (r"[a\]:b:3]", [(3, r"a\]"), (10, "b")]),
        ("a | b [c:d:5]", [(5, "a | b c"), (10, "a | b d")]),
    ],
)  # fmt: skip
def test_the_text_of_each_step(prompt: str, by_step: list[tuple[int, str]]) -> None:
    assert spans(prompt) == by_step


def test_alternation_and_change_work_side_by_side() -> None:
    assert spans("[a|b] [c:d:0.5]", 4) == [(1, "a c"), (2, "b c"), (3, "a d"), (4, "b d")]
    assert spans("[a|[b|c]]", 4) == [(1, "a"), (2, "c"), (3, "a"), (4, "c")]


def test_and_joins_clauses_with_weights() -> None:
    found = scheduled("a cat :1.2 AND a [dog:wolf:.5]: -0.5 AND\nx", 4)
    assert [one.weight for one in found] == [1.2, -0.5, 1.0]
    assert texts_of(found) == ("a cat", "a dog", "a wolf", "x")
    # Words and ratios are not weights.
    assert scheduled("SAND AND ratio 16:9 land", 4)[1].weight == 1.0
    assert scheduled("ratio 16:9", 4) == scheduled("ratio 16:9", 4, False)
    assert scheduled("ratio 16:9", 4)[0].weight == 1.0
    assert texts_of(scheduled("a and b", 4)) == ("a and b",)
    assert texts_of(scheduled("a AND b", 4, composes=False)) == ("a AND b",)


def test_what_no_step_reads_is_told() -> None:
    assert scheduled("[red:blue:30]", 20)[0].never == ("blue",)
    assert scheduled("[red:blue:0]", 20)[0].never == ("red",)
    assert scheduled("[a|b|c]", 2)[0].never == ("c",)
    assert scheduled("[red:blue:0.5] [a|b]", 20)[0].never == ()
    assert scheduled("[a:[b:c:9]:5]", 6)[0].never == ("c",)


def test_only_prompts_that_mean_more_than_before_have_another_address() -> None:
    for plain in ("", "a cat", "(a:1.2) [b] BREAK c", r"\[a:b:3\]", "and", "a [b", "[16:9 c]"):
        assert not changes_meaning(plain, plain) and version_mark(plain, plain) == ""
    for prompt in ("[a:b:3]", "[a|b]", "a AND b", "[a:3]", "[a::3]"):
        assert changes_meaning(prompt)
    assert version_mark("a", "[a|b]") and not version_mark("a", "b AND c")


@pytest.mark.parametrize(("when", "text"), [("1e999", "a"), ("-1e999", "b"), ("1.5e999", "a")])
def test_a_step_beyond_all_numbers_is_one_that_never_comes_or_long_has(
    when: str, text: str
) -> None:
    assert texts_of(scheduled(f"[a:b:{when}]", 10)) == (text,)


@pytest.mark.parametrize("text", ["[a (b:c:3]", "[a) b:c:3]", "[(a]|b)c:3]", "[a [b:c:3)]"])
def test_a_bracket_without_its_counterpart_makes_text_of_what_it_stands_in(text: str) -> None:
    """The grammar has no such prompt; nothing of it changes from step to step."""
    assert texts_of(scheduled(text, 10)) == (text,)


def test_odd_prompts_take_no_time_and_do_not_break() -> None:
    started = time.perf_counter()
    for text in ("[" * 4000, "[a:" * 1000, "(]" * 2000, "[a|" * 1300, "\\" * 4000, ":" * 4000):
        assert texts_of(scheduled(text, 1000)) == (text,)
    deep = "[" * 40 + "a" + "|b]" * 40
    assert len(scheduled(deep, 1000)[0].spans) <= 1000
    with pytest.raises(InvalidRequest, match="more than 50 deep"):
        scheduled("[" * 60 + "a" + ":3]" * 60, 10)
    assert time.perf_counter() - started < 10
