"""LoRA tags in prompts, as other tools write them."""

from __future__ import annotations

import pytest

from pipelines import Axis, InvalidRequest, Request, Sheet
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.lora import LoRA
from pipelines.request.prompts.prompt_tags import carry_out, split_tags, unread_tags
from pipelines.runs.png_metadata import settings_text


@pytest.mark.parametrize(
    ("prompt", "text", "loras"),
    [
        ("a cat <lora:x:0.8>", "a cat", [("x", 0.8, None)]),
        ("<lora:x> a cat", "a cat", [("x", 1.0, None)]),
        ("a <lora:x:1> cat", "a cat", [("x", 1.0, None)]),
        ("a cat, <lora:x:-0.5>, b", "a cat,, b", [("x", -0.5, None)]),
        ("a <lora:x:1><lora:y:.5>", "a", [("x", 1.0, None), ("y", 0.5, None)]),
        ("a <lora:styles/x:1>", "a", [("styles/x", 1.0, None)]),
        ("a <lora:x:0.5:0.8>", "a", [("x", 0.8, 0.5)]),
        ("a <lora:x:0.5:0.5>", "a", [("x", 0.5, None)]),
        ("a <lora:x:te=0.5:unet=0>", "a", [("x", 0.0, 0.5)]),
        ("a <lora:x:te=0.5>", "a", [("x", 0.5, None)]),
        ("a <LORA:x:1>", "a", [("x", 1.0, None)]),
        ("a <lyco:x:1>", "a", [("x", 1.0, None)]),
        ("a < b > c <3", "a < b > c <3", []),
        ("a <hypernet:x:1>", "a <hypernet:x:1>", []),
    ],
)
def test_tags_are_taken_out(prompt: str, text: str, loras: list[tuple[object, ...]]) -> None:
    found, read = split_tags(prompt)
    assert found == text
    assert [(one.name, one.scale, one.text_scale) for one in read] == loras


@pytest.mark.parametrize("tag", ["<lora:x:much>", "<lora:x:9>", "<lora:x:1:2:3>", "<lora:x:dyn=8>"])
def test_a_tag_that_cannot_be_read_is_named(tag: str) -> None:
    with pytest.raises(InvalidRequest, match=tag):
        carry_out(Request(prompt=f"a {tag}"))


def test_they_follow_the_loras_that_are_there_and_axes_change_them() -> None:
    base = Request(prompt="a <lora:x:0.5>", loras=("y",))
    assert [str(one) for one in carry_out(base).loras] == ["y:1", "x:0.5"]
    cells = Sheet(base=base, axes=(parse_axis("lora2_scale=0, 1"),)).expand()
    assert [cell.loras[1].scale for cell in cells] == [0.0, 1.0]
    cells = Sheet(base=base, axes=(parse_axis("prompt_replace=:0.5>, :0.9>"),)).expand()
    assert [cell.loras[1].scale for cell in cells] == [0.5, 0.9]
    cells = Sheet(base=base, axes=(Axis(field="prompt", values=("b", "c <lora:z>")),)).expand()
    assert [[str(one) for one in cell.loras] for cell in cells] == [["y:1"], ["y:1", "z:1"]]


def test_two_scales_survive_text_json_and_png() -> None:
    for one in (LoRA(name="x", scale=0.8, text_scale=0.5), LoRA(name="x:1", scale=0.5)):
        assert LoRA.model_validate(one.text) == one
        request = Request(prompt="a", loras=(one,))
        assert Request.from_json(request.to_json()) == request
        text = settings_text(request).splitlines()[0]
        if ":" not in one.name:
            assert carry_out(Request(prompt=text)) == request
    # One scale: as it was written before there were two.
    assert '{"name": "x", "scale": 0.5}' in Request(loras=("x:0.5",)).to_json()


def test_tags_that_are_not_carried_out_are_listed() -> None:
    assert unread_tags("a <hypernet:h:1> <lora:x:1>") == ("<hypernet:h:1>",)
    assert unread_tags("<lora:x:1>", negative=True) == ("<lora:x:1>",)
