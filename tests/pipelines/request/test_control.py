"""Controls as data: what they accept, what they refuse, and how axes change them."""

from __future__ import annotations

import json

import pytest

from pipelines import Axis, Control, InvalidRequest, Request, Sheet, UnknownName
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.labels import axis_title, column_texts
from pipelines.runs.png_metadata import settings_text

ONE, TWO = "1" * 32, "2" * 32
CANNY = Control(image=ONE, preprocessor="canny", model="c", parameters={"low": 100, "high": 200})


def test_requests_without_controls_are_what_they_were() -> None:
    """JSON and address as they were before controls: cells and pictures of then stay valid."""
    request = Request(model="tiny", prompt="an apple", seed=3, width=32, height=32)
    assert "controls" not in json.loads(request.to_json())
    assert request.address("f") == "e1e4501f35581403e042de5a6898a5f2"
    assert Request.from_json(request.to_json()).controls == ()


def test_parameters_in_any_order_and_kind_are_one() -> None:
    other = CANNY.replace(parameters={"high": 200.0, "low": 100})
    assert other == CANNY and hash(other) == hash(CANNY)
    assert Request(controls=[other]).to_json() == Request(controls=[CANNY]).to_json()
    assert CANNY.replace(parameters='{"low": 100, "high": 200}') == CANNY
    assert CANNY.replace(parameters={"low": 100}) != CANNY


BAD = [
    ({"image": "apple.png"}, "control image is 'apple.png'; it must be a picture's hash"),
    ({"strength": -0.1}, "control strength is -0.1; it must be a number from 0 to 2"),
    ({"strength": 2.1}, "control strength is 2.1; it must be a number from 0 to 2"),
    ({"strength": "strong"}, "control strength is 'strong'; it must be a number from 0 to 2"),
    ({"start": -0.1}, "control start is -0.1; it must be a number from 0 to 1"),
    ({"stop": 1.5}, "control stop is 1.5; it must be a number from 0 to 1"),
    ({"start": 0.6, "stop": 0.4}, "control start 0.6 is after control stop 0.4"),
    ({"mode": "both"}, "control mode is 'both'; it must be one of balanced, prompt, control"),
    ({"model": ""}, "control model is ''; it must name a ControlNet"),
    ({"parameters": {"low": [1]}}, "it must be names with numbers, texts, true or false"),
    ({"parameters": {"low": float("nan")}}, "it must be names with numbers"),
    ({"parameters": 3}, "it must be names with numbers"),
    ({"parameters": "low=3"}, "it must be names with numbers"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda v: str(v)[:30])
def test_bad_values_are_named(changes: dict[str, object], message: str) -> None:
    for make in (CANNY.replace, lambda **c: Request(controls=[{**CANNY.model_dump(), **c}])):
        with pytest.raises(InvalidRequest) as error:
            make(**changes)
        assert message in str(error.value) and "\n" not in str(error.value)


def test_other_bad_things() -> None:
    with pytest.raises(UnknownName, match="unknown control setting 'strenght'; did you mean 'str"):
        CANNY.replace(strenght=1.0)
    with pytest.raises(InvalidRequest, match="at most 8 controls"):
        Request(controls=[CANNY] * 9)
    with pytest.raises(UnknownName, match="unknown axis 'controls'"):
        parse_axis("controls=1")
    with pytest.raises(UnknownName, match="unknown axis 'control_strenght'; did you mean 'control"):
        parse_axis("control_strenght=1")
    for field in ("control1_strength", "control9_strength", "control0_stop", "control_x"):
        with pytest.raises(UnknownName):
            Axis(field=field, values=(1.0,))
    sheet = Sheet(base=Request(controls=[CANNY]), axes=(parse_axis("control2_stop=0.5,1"),))
    with pytest.raises(InvalidRequest, match="changes control 2, but there is 1 control; add it"):
        sheet.expand()
    with pytest.raises(InvalidRequest, match="changes control 1, but there are no controls"):
        Sheet(axes=(parse_axis("control_stop=0.5,1"),)).expand()
    with pytest.raises(InvalidRequest, match="control strength is 3"):
        Sheet(base=Request(controls=[CANNY]), axes=(parse_axis("control_strength=1,3"),)).expand()


def test_axes_change_one_field_of_one_control() -> None:
    base = Request(controls=[CANNY, CANNY.replace(image=TWO)], seed=5)
    axes = "control_strength=0-2 [3]", "control2_stop=0.5,1 & guidance_scale=3,4"
    sheet = Sheet(base=base, axes=tuple(map(parse_axis, axes)))
    assert Sheet.model_validate_json(sheet.model_dump_json()) == sheet
    cells = sheet.expand()
    assert [
        (c.controls[0].strength, c.controls[1].stop, c.guidance_scale, c.seed) for c in cells
    ] == [
        (strength, stop, scale, 5)
        for strength in (0.0, 1.0, 2.0)
        for stop, scale in ((0.5, 3.0), (1.0, 4.0))
    ]  # fmt: skip
    for cell in cells:
        assert cell.controls[0].replace(strength=1.0) == CANNY
        assert cell.controls[1].replace(stop=1.0) == CANNY.replace(image=TWO)


def test_maps_and_models_change_in_pairs() -> None:
    axis = parse_axis(
        "control_preprocessor=canny,depth & control_model=c,d & "
        'control_parameters="{""low"": 5}","{}"'
    )
    first, second = Sheet(base=Request(controls=[CANNY]), axes=(axis,)).expand()
    assert first.controls == (CANNY.replace(parameters={"low": 5}),)
    assert second.controls == (Control(image=ONE, preprocessor="depth", model="d"),)


def test_places_have_names() -> None:
    base = Request(controls=[CANNY, CANNY])
    axes = [parse_axis(f"control_image={ONE},{TWO} & control_stop=0.5,1")]
    assert column_texts(Sheet(base=base, axes=tuple(axes))) == [
        "picture 11111111, control until 0.5", "picture 22222222, control until 1"
    ]  # fmt: skip
    assert column_texts(Sheet(base=base, axes=(parse_axis("control2_strength=0.5"),))) == [
        "control 2 strength 0.5"
    ]
    assert axis_title(axes[0]) == "picture and control until"


def test_other_tools_read_controls_too() -> None:
    text = settings_text(Request(controls=[CANNY.replace(strength=0.8, stop=0.6, mode="prompt")]))
    assert (
        'ControlNet 0: "Module: canny, Model: c, Weight: 0.8, Guidance Start: 0, '
        'Guidance End: 0.6, Control Mode: My prompt is more important"'
    ) in text
