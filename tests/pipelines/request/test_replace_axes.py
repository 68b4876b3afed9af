"""Axes that replace in prompts: several at once, in the places of the base prompt."""

from __future__ import annotations

import pytest

from pipelines import InvalidRequest, Request, Sheet, UnknownName
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.labels import axis_title, column_texts, row_texts

BASE = Request(prompt="a red cat and a blue dog", negative_prompt="blurry, red")


def sheet(*axes: str, base: Request = BASE) -> Sheet:
    return Sheet(base=base, axes=tuple(map(parse_axis, axes)))


def test_colour_by_object() -> None:
    asked = sheet("prompt_replace=red, green", "prompt_replace2=cat, fox, owl")
    assert [cell.prompt for cell in asked.expand()] == [
        f"a {colour} {animal} and a blue dog"
        for colour in ("red", "green")
        for animal in ("cat", "fox", "owl")
    ]
    assert row_texts(asked) == ["red", "green"] and column_texts(asked) == ["cat", "fox", "owl"]
    assert asked.expand()[0].negative_prompt == BASE.negative_prompt


def test_a_swap() -> None:
    """Each replaces in the base prompt, not in what the other has made."""
    asked = sheet("prompt_replace=red,blue & prompt_replace2=blue,red")
    assert [cell.prompt for cell in asked.expand()][1] == "a blue cat and a red dog"
    asked = sheet("prompt_replace=cat,dog", "prompt_replace2=dog,cat")
    assert [cell.prompt for cell in asked.expand()] == [
        f"a red {first} and a blue {second}"
        for first in ("cat", "dog")
        for second in ("dog", "cat")
    ]


def test_in_the_negative_prompt() -> None:
    asked = sheet("negative_replace=blurry,grainy", "prompt_replace=red,green")
    assert [cell.negative_prompt for cell in asked.expand()] == [
        "blurry, red", "blurry, red", "grainy, red", "grainy, red",
    ]  # fmt: skip
    assert row_texts(asked) == ["negative blurry", "negative grainy"]
    assert axis_title(parse_axis("prompt_replace3=a,b")) == "prompt 3"


def test_the_longer_search_goes_first_and_signs_are_text() -> None:
    base = Request(prompt="red wine, red (a.b)")
    asked = sheet("prompt_replace=red,blue", "prompt_replace2=red wine,beer", base=base)
    assert asked.expand()[-1].prompt == "beer, blue (a.b)"
    asked = sheet("prompt_replace=(a.b),\\1", base=base)
    assert asked.expand()[-1].prompt == "red wine, red \\1"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["prompt_replace=pear,plum"], "prompt_replace starts with 'pear', which is not in"),
        (["negative_replace=cat,plum"], "negative_replace starts with 'cat'.* the negative prompt"),
        (["prompt_replace=red,a", "prompt_replace2=red,b"], "both replace 'red'"),
        (["prompt_replace=red cat,a", "prompt_replace2=cat,b"], "stands only inside"),
        (["prompt=x,y", "prompt_replace2=red,b"], "both set the prompt"),
        (["negative_prompt=x,y", "negative_replace=red,b"], "both set the negative prompt"),
        (['prompt_replace="",a'], "starts with ''"),
    ],
)
def test_what_cannot_be_replaced(axes: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        sheet(*axes).expand()


def test_there_is_no_tenth() -> None:
    with pytest.raises(UnknownName):
        parse_axis("prompt_replace10=a,b")


def test_a_sheet_of_them_survives_json() -> None:
    asked = sheet("prompt_replace2=red,blue & negative_replace=red,blue")
    assert Sheet.model_validate_json(asked.model_dump_json()).expand() == asked.expand()
