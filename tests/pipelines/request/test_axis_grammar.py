"""The axis grammar and the cells that sheets expand to."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import Axis, Control, InvalidRequest, Request, Sheet, UnknownName
from pipelines.request.axis_grammar import parse_axis, parse_values, split, value_type
from pipelines.request.sheet import PROMPT_REPLACE
from pipelines.samplers import SAMPLERS

decimals = st.decimals(-1000, 1000, places=3, allow_nan=False)


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("guidance_scale", "1,3,5", (1.0, 3.0, 5.0)),
        ("guidance_scale", " 1 , 2.5 ", (1.0, 2.5)),
        ("steps", "1-4", (1, 2, 3, 4)),
        ("steps", "4-1", (4, 3, 2, 1)),
        ("steps", "1-10 (+2)", (1, 3, 5, 7, 9)),
        ("steps", "1-9 (2)", (1, 3, 5, 7, 9)),
        ("steps", "10-5 (-1)", (10, 9, 8, 7, 6, 5)),
        ("steps", "1-10 [4]", (1, 4, 7, 10)),
        ("guidance_scale", "1-10 [5]", (1.0, 3.25, 5.5, 7.75, 10.0)),
        ("guidance_scale", "0.1-0.5 (+0.1)", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("seed", "100-107", tuple(range(100, 108))),
        ("steps", "1, 3-5, 10", (1, 3, 4, 5, 10)),
        ("sampler", "ddim, DPM++ 2M Karras", ("ddim", "DPM++ 2M Karras")),
        ("prompt", 'a, "b, c", "say ""hi"""', ("a", "b, c", 'say "hi"')),
        ("prompt", '"", an apple', ("", "an apple")),
        ("prompt", 'a 6" nail', ('a 6" nail',)),
        (PROMPT_REPLACE, "apple, pear", ("apple", "pear")),
    ],
)  # fmt: skip
def test_values(field: str, text: str, values: tuple[object, ...]) -> None:
    found = parse_values(field, text)
    assert found == values and [type(v) for v in found] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("field", "text", "named"),
    [
        ("steps", "1,x,3", "'x'"),
        ("steps", "1-10 (0)", "'1-10 (0)'"),
        ("steps", "1-10 (-1)", "'1-10 (-1)'"),
        ("steps", "2.5", "2.5"),
        ("steps", "1-3 [5]", "only 3 whole numbers"),
        ("steps", "1.5-10 [3]", "1.5"),
        ("steps", "1-10 [1]", "'1-10 [1]'"),
        ("steps", "1-999999", "999999 values"),
        ("steps", "1-999, 1-999", "1998 values"),
        ("steps", "1-", "'1-'"),
        ("steps", "1,,2", "'1,,2'"),
        ("steps", "", "no values"),
        ("steps", "nan", "'nan'"),
        ("prompt", '"an apple', "not closed"),
    ],
)
def test_a_bad_value_is_named(field: str, text: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_values(field, text)
    assert named in str(caught.value)


def test_an_unknown_field_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="guidance_scale"):
        parse_axis("guidance_scal=1,2")
    with pytest.raises(InvalidRequest, match="no '='"):
        parse_axis("steps 1,2")


@given(decimals, decimals, st.decimals("0.001", 50, places=3))
def test_a_range_never_overshoots_and_hits_its_end_exactly(start, end, step) -> None:
    step = step if end >= start else -step
    if abs((end - start) / step) >= 1000:
        return
    values = parse_values("guidance_scale", f"{start}-{end} ({step:+f})")
    assert values[0] == float(start)
    assert all(min(start, end) <= Decimal(str(v)) <= max(start, end) for v in values)
    exact = (end - start) % step == 0
    assert (values[-1] == float(end)) == exact
    left = end - Decimal(str(values[-1]))
    assert abs(left) < abs(step), "one more value would have fitted"


@given(decimals, decimals, st.integers(2, 200))
def test_spaced_values_have_their_number_and_both_ends(start, end, count) -> None:
    values = parse_values("guidance_scale", f"{start}-{end} [{count}]")
    assert len(values) == count
    assert (values[0], values[-1]) == (float(start), float(end))
    assert list(values) == sorted(values, reverse=end < start)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_texts_can_be_quoted(texts) -> None:
    quoted = ", ".join('"{}"'.format(text.replace('"', '""')) for text in texts)
    assert list(split(quoted)) == texts


def test_every_field_of_a_request_can_be_an_axis() -> None:
    for field in {*Request.model_fields} - {"controls", "loras"}:
        assert value_type(field) in (str, int, float, bool)
    for field in Control.model_fields:
        assert value_type(f"control_{field}") is value_type(f"control8_{field}")
        assert value_type(f"control_{field}") in (str, float)
    assert (value_type("lora"), value_type("lora8")) == (str, str)
    assert (value_type("lora_scale"), value_type("lora2_scale")) == (float, float)


def test_cells_are_the_product_last_axis_fastest() -> None:
    axes = (parse_axis("steps=2,3"), parse_axis("seed=7-9"))
    sheet = Sheet(base=Request(), axes=axes)
    assert sheet.shape == (2, 3)
    assert [(r.steps, r.seed) for r in sheet.expand()] == [
        (2, 7), (2, 8), (2, 9), (3, 7), (3, 8), (3, 9)
    ]  # fmt: skip
    assert Sheet.model_validate_json(sheet.model_dump_json()) == sheet


def test_axes_zipped_change_together() -> None:
    axis = parse_axis("steps=10,20 & guidance_scale=3,5")
    cells = Sheet(base=Request(), axes=(axis, parse_axis("seed=1,2"))).expand()
    assert [(r.steps, r.guidance_scale, r.seed) for r in cells] == [
        (10, 3.0, 1), (10, 3.0, 2), (20, 5.0, 1), (20, 5.0, 2)
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="as many values"):
        parse_axis("steps=10,20 & guidance_scale=3")
    with pytest.raises(InvalidRequest, match="twice"):
        Sheet(axes=(axis, parse_axis("steps=1")))


def test_search_and_replace_keeps_the_rest_of_the_prompt() -> None:
    sheet = Sheet(
        base=Request(prompt="a red apple on a plate"),
        axes=(parse_axis("prompt_replace=apple, pear, plum"),),
    )
    assert [r.prompt for r in sheet.expand()] == [
        f"a red {fruit} on a plate" for fruit in ("apple", "pear", "plum")
    ]
    with pytest.raises(InvalidRequest, match="not in the prompt"):
        Sheet(base=Request(prompt="a dog"), axes=sheet.axes).expand()


def test_a_sampler_without_the_schedule_of_the_others_takes_its_default() -> None:
    base = Request(sampler="dpmpp_2m", schedule="karras")
    axis = Axis(field="sampler", values=("euler", "euler_a", "DPM++ 2M Karras"))
    cells = Sheet(base=base, axes=(axis,)).expand()
    assert [(r.sampler, r.schedule) for r in cells] == [
        ("euler", "karras"), ("euler_a", "default"), ("dpmpp_2m", "karras")
    ]  # fmt: skip


def test_a_value_out_of_range_is_named() -> None:
    with pytest.raises(InvalidRequest, match="steps is 0"):
        Sheet(axes=(parse_axis("steps=5,0"),)).expand()


def test_equal_evaluations_give_every_sampler_what_it_can_do_with_them() -> None:
    axes = (parse_axis("sampler=euler,heun,pndm"), parse_axis("evaluations=1,10,11"))
    cells = Sheet(base=Request(), axes=axes).expand()
    assert [r.steps for r in cells] == [1, 10, 11, 1, 5, 6, 1, 9, 10]
    for cell, most in zip(cells, (1, 10, 11) * 3, strict=True):
        cost = SAMPLERS[cell.sampler].evaluations
        assert cost(cell.steps) <= most < cost(cell.steps + 1)
    with pytest.raises(InvalidRequest, match="both set the steps"):
        Sheet(axes=(parse_axis("steps=1"), parse_axis("evaluations=1")))
    with pytest.raises(InvalidRequest, match="evaluations is 0"):
        Sheet(axes=(parse_axis("evaluations=0"),)).expand()
