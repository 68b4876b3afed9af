"""Lists of values as people write them: which quotes keep commas, and where a fault is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import ContactSheetError, InvalidRequest
from pipelines.request.axis_grammar import parse_axis
from pipelines.utils.value_list import split

READ = {
    '"a, b",c': ["a, b", "c"],
    "'a, b','c'": ["a, b", "c"],
    "“a, b”,“c”": ["a, b", "c"],
    "„a, b“, „c”": ["a, b", "c"],
    "«a, b»,»c, d«": ["a, b", "c, d"],
    "‘a, b’,c": ["a, b", "c"],
    "「a, b」,c": ["a, b", "c"],
    "”a, b”,c": ["a, b", "c"],
    '"a ""b"" c",d': ['a "b" c', "d"],
    r'"a \"b\" c",d': ['a "b" c', "d"],
    r'"a\",b': ["a\\", "b"],
    r'"a \(b\), c"': [r"a \(b\), c"],
    "'a \"b\", c'": ['a "b", c'],
    '"it\'s, so"': ["it's, so"],
    "'it''s, so'": ["it's, so"],
    "'it's, so'": ["it's, so"],
    "'tis, don't, artists'": ["tis, don't, artists"],
    "'tis, don't, artist's": ["'tis", "don't", "artist's"],
    "‘tis,b": ["‘tis", "b"],
    "it’s,b": ["it’s", "b"],
    '5" pipe,6" pipe': ['5" pipe', '6" pipe'],
    'a "red" apple, b': ['a "red" apple', "b"],
    '"","\'\'"': ["", "''"],
    "''": [""],
    ' "a" , "b" ': ["a", "b"],
    "a=b,c==d": ["a=b", "c==d"],
    "\ta\u00a0,\u3000b\n": ["a", "b"],
    "": [],
    "  ": [],
}


@pytest.mark.parametrize("text", READ)
def test_every_pair_of_quotes_keeps_commas(text: str) -> None:
    assert list(split(text)) == READ[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a, "b', "a quote is not closed in 'a, \"b' at character 4"),
        ("“b, c", "a quote is not closed in '“b, c' at character 1"),
        ("a,b,", "an empty value in 'a,b,' at character 4"),
        ("a,,b", "an empty value in 'a,,b' at character 3"),
        (",a", "an empty value in ',a' at character 1"),
        ('"a" b,c', "text behind a closed quote in '\"a\" b,c' at character 5, where"),
        ('"a"b"', "text behind a closed quote"),
        ("“a” b", "text behind a closed quote in '“a” b' at character 5"),
        ('a "b, c" d', "a comma stands in quotes inside a value in 'a \"b, c\" d' at character 5"),
        ("a sign “stop, now”", "a comma stands in quotes inside a value"),
    ],
)  # fmt: skip
def test_a_fault_is_named_at_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        list(split(text))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(st.lists(st.text(), min_size=1), st.sampled_from(['""', "''"]))
def test_any_text_can_be_quoted(texts: list[str], quotes: str) -> None:
    sign = quotes[0]

    written = ", ".join(f"{sign}{text.replace(sign, sign * 2)}{sign}" for text in texts)
    assert list(split(written)) == texts


@given(st.text(alphabet="ab \"'“”‘’«»,\\=&"))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        assert all(isinstance(entry, str) for entry in split(text))
        parse_axis(f"prompt={text}")
    except InvalidRequest as error:
        assert len(str(error)) < 600


def test_quotes_keep_what_would_begin_another_axis() -> None:
    axis = parse_axis("prompt=\"x & steps=3\",'y & seed=1' & seed=1,2")
    assert axis.values == ("x & steps=3", "y & seed=1")
    assert [one.field for one in axis.zipped] == ["seed"]
    assert parse_axis("steps=“5”,'6'").values == (5, 6)
    assert parse_axis("prompt=a & b, c & Seed=1,2").zipped[0].values == (1, 2)


@pytest.mark.parametrize(
    "text",
    ["'x," * 33_000, "'x," * 33_000 + "''", "'" * 100_000, '"\\"' * 33_000, "' " * 50_000,
     'a "b,' * 20_000, "‘x," * 33_000 + "‘‘", '"' + "\\" * 100_000, "x & y=" * 16_000],
)  # fmt: skip
def test_thousands_of_quotes_take_no_time(text: str) -> None:
    begun = time.process_time()
    try:
        list(split(text))
        parse_axis(f"prompt={text}")
    except ContactSheetError:
        pass
    assert time.process_time() - begun < 2
