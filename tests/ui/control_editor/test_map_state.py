"""The state of a control's map as a browser keeps it: a bad field takes nothing good with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines import Studio, preprocessors
from pipelines.preprocessors.skeletons import JOINTS, Skeleton
from ui.control_editor.map_state import MapState, with_people

SIZE = (64, 64)
PEOPLE = (Skeleton.of(tuple((0.5, i / len(JOINTS)) for i in range(len(JOINTS)))),)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "models", tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


@pytest.fixture
def posed(studio: Studio) -> MapState:
    """A picture whose people were moved."""
    image = studio.add_picture(Image.new("RGB", SIZE, "red"))
    parameters = preprocessors.check_parameters("pose", {"people": 3, "resize": "pad"})
    return with_people(MapState(image, "pose", parameters, like="canny"), PEOPLE, SIZE, studio)


def read(state: MapState, studio: Studio, **changes: Any) -> MapState:
    kept = json.loads(json.dumps({**state.kept(), **changes}))
    return MapState.read(kept, studio)


def test_what_was_kept_is_read(posed: MapState, studio: Studio) -> None:
    assert posed.edited is not None and posed.skeletons == PEOPLE
    assert read(posed, studio) == posed
    assert MapState.read(MapState().kept(), studio).kept()["image"] is None
    assert MapState.read(None, studio) == MapState.read("text", studio) == MapState()


@pytest.mark.parametrize("bad", ["hihg", 7, "", {"canny": 1}, ["canny"]])
def test_a_bad_likeness_costs_the_likeness(posed: MapState, studio: Studio, bad: Any) -> None:
    assert read(posed, studio, like=bad) == read(posed, studio, like=None)
    assert read(posed, studio, like=bad).skeletons == PEOPLE


@pytest.mark.parametrize("bad", [{"people": 99}, {"people": 3, "unheard": 1}, [1], 5])
def test_a_bad_parameter_costs_that_one(posed: MapState, studio: Studio, bad: Any) -> None:
    others = {"resize": "pad"} if isinstance(bad, dict) else {}
    found = read(posed, studio, parameters={**bad, **others} if others else bad)
    wanted = {**others, **({"people": 3} if others and bad["people"] == 3 else {})}
    assert found.parameters == preprocessors.check_parameters("pose", wanted)
    assert (found.image, found.edited, found.skeletons) == (posed.image, posed.edited, PEOPLE)


def test_parameters_that_are_good_together_are_read_together(studio: Studio) -> None:
    parameters = preprocessors.check_parameters("canny", {"low": 250, "high": 255})
    assert read(MapState(None, "canny", parameters), studio).parameters == parameters


@pytest.mark.parametrize("bad", ["0" * 32, 7, {"a": 1}, "../../etc"])
def test_a_picture_that_is_gone_costs_its_edits(posed: MapState, studio: Studio, bad: Any) -> None:
    found = read(posed, studio, image=bad)
    assert found == MapState(None, "pose", posed.parameters)


@pytest.mark.parametrize("bad", ["unheard", None, 7, ["pose"]])
def test_an_unknown_preprocessor_costs_its_map(posed: MapState, studio: Studio, bad: Any) -> None:
    assert read(posed, studio, preprocessor=bad) == MapState(posed.image)


@pytest.mark.parametrize(
    "bad", [{"edited": "0" * 32}, {"edited": 7}, {"edited": None}, {"skeletons": [{"x": 1}]}]
)
def test_an_edited_map_and_its_people_go_together(
    posed: MapState, studio: Studio, bad: dict[str, Any]
) -> None:
    assert read(posed, studio, **bad) == MapState(posed.image, "pose", posed.parameters, "canny")
