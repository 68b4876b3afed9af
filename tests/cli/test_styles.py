"""Styles: what ships, how they go on and off, and whom they fit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import app
from pipelines import InvalidRequest, UnknownName
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.png_metadata import read_request
from presets import apply_style, find_style, styles_for
from presets.styles import Style, styles
from ui.cli.style_option import axis_in_style

WORDS = st.text("abc ,(:1)", max_size=12)


def call(*arguments):
    return CliRunner().invoke(app.app, [str(a) for a in arguments])


def test_what_ships():
    assert len(styles()) >= 12
    assert list(styles_for("emoji")) == list(styles_for("models/emoji")) == ["3d", "flat", "noto"]
    assert "photo" in styles_for("stable-diffusion-v1-5")
    assert not set(styles_for("emoji")) & set(styles_for("stable-diffusion-v1-5"))


@given(WORDS, WORDS, st.sampled_from(sorted(styles())), st.sampled_from(sorted(styles())))
def test_a_style_comes_off_as_it_went_on(prompt, negative, first, second):
    prompt, negative = prompt.strip(" ,"), negative.strip(" ,")
    styled = apply_style(prompt, negative, styles()[first])
    assert prompt in styled[0] and styled[0] != prompt
    assert apply_style(*styled, None) == (prompt, negative)
    assert apply_style(*styled, styles()[second]) == apply_style(prompt, negative, styles()[second])


def test_a_style_needs_a_place_for_the_prompt():
    for text in ("no place", "{prompt}", "{prompt} and {prompt}"):
        with pytest.raises(ValueError, match=r"it must hold \{prompt\} once"):
            Style(title="x", prompt=text)


def test_a_style_that_is_not_there_or_does_not_fit():
    with pytest.raises(UnknownName, match="unknown style 'flatt'; did you mean 'flat'"):
        find_style("flatt", "emoji")
    with pytest.raises(InvalidRequest, match="'photo' is not for 'emoji', which has 3d, flat"):
        find_style("photo", "emoji")


def test_prompts_along_an_axis_wear_the_style_too():
    axis = axis_in_style(parse_axis("seed=1,2 & prompt=a pear, a fig"), "flat", "emoji")
    assert axis.zipped[0].values == ("a pear, flat style", "a fig, flat style")
    assert (axis.field, axis.values) == ("seed", (1, 2))
    assert axis_in_style(parse_axis("seed=1"), "flat", "emoji").values == (1,)


def test_the_command_line(models, tmp_path):
    listed = json.loads(call("styles", "--json").stdout)
    assert [row["name"] for row in listed] == ["3d", "flat", "noto"]
    out = tmp_path / "a.png"
    result = call(
        "generate", "a pear", "--models", models, "--model", "tiny", "--steps", 1,
        "--device", "cpu",         "--negative-prompt", "blur", "--style", "ink", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    request = read_request(Image.open(out))
    assert request.prompt == "ink drawing of a pear, black and white, cross-hatching"
    assert request.negative_prompt == "blur, colour, photograph"
    wrong = call("generate", "x", "--style", "inc", "--out", tmp_path / "b.png")
    assert wrong.exit_code == 2 and "unknown style 'inc'; known: 3d, flat, noto" in wrong.stderr
