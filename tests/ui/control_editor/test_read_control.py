"""From a control's fields of the form to the Control they ask for."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pipelines import ContactSheetError, Control, Studio
from ui.control_editor.availability import ANY_MODEL
from ui.control_editor.map_state import MapState, map_of
from ui.control_editor.read_control import ControlFields, ControlValues, read_control

SIZE = (32, 32)


@pytest.fixture(scope="module")
def studio(models: Path) -> Studio:
    return Studio(models)


@pytest.fixture
def edges(studio: Studio) -> MapState:
    """A picture with edges in it."""
    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).rectangle((16, 16, 47, 47), fill="#444444")
    return MapState(studio.add_picture(picture), "canny")


@pytest.fixture
def values(edges: MapState) -> ControlValues:
    return ControlValues(
        on=True, map=edges.kept(), strength="1", model=ANY_MODEL, start=0, stop=1, mode="balanced"
    )


def read(studio: Studio, values: ControlValues) -> tuple[Control, tuple[float, ...]] | None:
    return read_control(2, values, SIZE, studio.controlnets("basic"), studio)


def test_a_control_that_is_off_asks_for_nothing(studio: Studio, values: ControlValues) -> None:
    assert read(studio, replace(values, on=False, map="nonsense", strength="x")) is None


def test_a_control_is_what_the_form_says(
    studio: Studio, values: ControlValues, edges: MapState
) -> None:
    given = replace(values, strength="0.75", start=0.25, stop=0.5, mode="prompt")
    control, strengths = read(studio, given)
    assert strengths == (0.75,)
    assert (control.image, control.preprocessor) == (edges.image, "canny")
    assert (control.strength, control.start, control.stop) == (0.75, 0.25, 0.5)
    assert (control.mode, control.model) == ("prompt", "net-canny")


def test_several_strengths_are_values_of_an_axis(studio: Studio, values: ControlValues) -> None:
    control, strengths = read(studio, replace(values, strength="0.5-1 (+0.25)"))
    assert strengths == (0.5, 0.75, 1.0) and control.strength == 0.5


def test_the_controlnet_that_is_chosen_is_taken(studio: Studio, values: ControlValues) -> None:
    assert read(studio, replace(values, model="net-pose"))[0].model == "net-pose"


def test_an_edited_map_is_used_as_it_is(
    studio: Studio, values: ControlValues, edges: MapState
) -> None:
    drawn = map_of(edges, SIZE, studio)
    drawn.putpixel((0, 0), (255, 255, 255))
    edited = replace(edges, edited=studio.add_picture(drawn))
    control, _ = read(studio, replace(values, map=edited.kept()))
    assert (control.image, control.preprocessor) == (edited.edited, "none")
    assert control.model == "net-canny", "still a map of edges"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"map": None}, "control 2 has no picture"),
        ({"map": MapState().kept()}, "control 2 has no picture"),
        ({"strength": ""}, "^control 2: "),
        ({"strength": "0.5, 2.5"}, "control 2: control strength is 2.5; .* from 0 to 2"),
        ({"start": 0.8, "stop": 0.2}, "control 2: control start 0.8 is after control stop 0.2"),
        ({"start": None}, "control 2: control start is None"),
        ({"mode": "nobody"}, "control 2: control mode is 'nobody'"),
    ],
)
def test_what_is_not_possible_names_the_control(
    studio: Studio, values: ControlValues, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ContactSheetError, match=message):
        read(studio, replace(values, **changes))


def test_a_map_that_several_could_follow_asks_which(
    studio: Studio, values: ControlValues, edges: MapState
) -> None:
    scribble = replace(edges, preprocessor="scribble").kept()
    with pytest.raises(ContactSheetError, match=r"follows map 2 is not clear.*net-canny, net-pose"):
        read(studio, replace(values, map=scribble))


def test_an_empty_map_is_refused(studio: Studio, values: ControlValues) -> None:
    plain = MapState(studio.add_picture(Image.new("RGB", (64, 64), "white")), "canny")
    with pytest.raises(ContactSheetError, match=r"map 2 is empty .*; draw an edge"):
        read(studio, replace(values, map=plain.kept()))


def test_fields_are_told_apart_by_their_control(values: ControlValues) -> None:
    first, second = ControlFields(1), ControlFields(2)
    other = replace(values, strength="0.5", on=False)
    form = {first.name(name): value for name, value in asdict(values).items()}
    form |= {second.name(name): value for name, value in asdict(other).items()}
    form |= {"control": "a prompt's own field", "steps": 20}
    assert set(first.names) | set(second.names) == form.keys() - {"control", "steps"}
    assert (first.read(form), second.read(form)) == (values, other)
    assert first.name("on") == "control1_on"
