"""A guider that breaks its contract fails its own cells, by its name, and harms no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines import Axis, InvalidRequest, Request, Sheet, Studio
from pipelines.denoising.guiders.base import COND, UNCOND, Prediction
from pipelines.denoising.guiders.registry import GUIDERS, GuiderSpec, register
from pipelines.preprocessors.base import Parameter
from pipelines.runs.events import CellDone, CellFailed, RunFinished
from tests.helpers.guiders import Toy, registered
from tests.helpers.tiny import save_sd
from tests.helpers.tiny_families import MAKERS

BASE = Request(
    model="tiny", prompt="an apple", negative_prompt="leaf", sampler="ddim", steps=2, seed=2,
    guidance_scale=3.0,
)  # fmt: skip
FLOW = BASE.replace(model="sd3", sampler="flow_euler", width=32, height=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_sd(folder / "tiny")
    MAKERS["sd3"]().save_pretrained(folder / "sd3", safe_serialization=True)
    return folder


@pytest.fixture
def studio(folder: Path) -> Iterator[Studio]:
    studio = Studio(folder, device="cpu", exact=True)
    yield studio
    studio.close()


def made(studio: Studio, base: Request, *guiders: str) -> dict[str, bytes | str]:
    """Each guider's picture, or why there is none."""
    sheet = Sheet(base=base, axes=(Axis(field="guider", values=guiders),))
    ends: dict[int, bytes | str] = {}
    for event in studio.run(sheet):
        match event:
            case CellDone():
                ends[event.cell] = event.image.tobytes()
            case CellFailed():
                ends[event.cell] = event.error
            case RunFinished():
                assert event.status == "done", event.error
    return {guider: ends[cell] for cell, guider in enumerate(guiders)}


@pytest.mark.parametrize("order", [("toy", "cfg"), ("cfg", "toy")])
@pytest.mark.parametrize("of", ["outputs", "x"])
def test_one_that_writes_in_place_changes_no_other_picture(
    studio: Studio, order: tuple[str, ...], of: str
) -> None:
    """The cells share rows: their outputs are equal, but not the same memory."""

    def written(outputs: Any, step: Any) -> Any:
        if of == "x":
            step.asked.x.mul_(0)
            return outputs["cond"]
        return outputs["cond"].mul_(0)

    alone = made(studio, BASE, "cfg")["cfg"]
    with registered(Toy(mix=written).row()):
        together = made(studio, BASE, *order)
    assert together["cfg"] == alone != together["toy"]


def test_two_predictions_of_one_row_are_not_the_same_memory(studio: Studio) -> None:
    twins = lambda index, total: (COND, Prediction("again"))  # noqa: E731

    def written(outputs: Any, step: Any) -> Any:
        outputs["again"].mul_(0)
        return outputs["cond"]

    with registered(Toy(twins, written).row()):
        base = BASE.replace(guidance_scale=1.0)
        ends = made(studio, base, "cfg", "toy")
    assert ends["cfg"] == ends["toy"]


COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "(1, 1, ": lambda outputs, step: outputs["cond"][:, :1],
    "(2, 4, ": lambda outputs, step: torch.cat([outputs["cond"]] * 2),
    "()": lambda outputs, step: outputs["cond"].mean(),
    "float64": lambda outputs, step: outputs["cond"].double(),
    "meta": lambda outputs, step: outputs["cond"].to("meta"),
    "NoneType": lambda outputs, step: None,
    "ZeroDivisionError": lambda outputs, step: 1 / 0,
}


@pytest.mark.parametrize("said", COMBINED)
def test_what_it_returns_is_like_the_networks_outputs(studio: Studio, said: str) -> None:
    alone = made(studio, BASE, "cfg")["cfg"]
    with registered(Toy(mix=COMBINED[said]).row()):
        ends = made(studio, BASE, "toy", "cfg")
    assert ends["cfg"] == alone
    error = ends["toy"]
    assert isinstance(error, str) and "guider 'toy'" in error and said in error


def nothing(request: Request, values: Any) -> Any:
    return None


def broken(request: Request, values: Any) -> Any:
    raise ZeroDivisionError("by hand")


@pytest.mark.parametrize(
    ("build", "said"), [(nothing, "NoneType"), (broken, "ZeroDivisionError: by hand")]
)
def test_one_that_cannot_be_built_fails_alone(
    studio: Studio, build: Callable[[Request, Any], Any], said: str
) -> None:
    row = GuiderSpec("toy", "Toy", "none", 2, build=build)
    with registered(row):
        with pytest.raises(InvalidRequest, match=f"guider 'toy' .*{said}"):
            studio.plan(Sheet(base=BASE.replace(guider="toy")))
        ends = made(studio, BASE, "toy", "cfg")
    assert isinstance(ends["cfg"], bytes)
    assert "guider 'toy'" in str(ends["toy"]) and said in str(ends["toy"])


ASKED: dict[str, tuple[Request, tuple[Any, ...]]] = {
    "no prediction": (BASE, ()),
    "'cond' twice": (BASE, (COND, Prediction("cond", "negative"))),
    "3 predictions .* 2": (BASE, (COND, UNCOND, Prediction("third", "negative"))),
    "'empty'.* negative, prompt": (BASE, (COND, Prediction("none", "empty"))),
    "skips none": (BASE, (COND, Prediction("weak", skip=(1,)))),
    "skip layers 99.*0 to 1": (FLOW, (COND, Prediction("weak", skip=(99,)))),
    "guidance of 3": (BASE, (COND, Prediction("told", guidance=3.0))),
    "prediction 'a b'": (BASE, (Prediction("a b"),)),
    "'cond', which is no Prediction": (BASE, ("cond",)),
}


@pytest.mark.parametrize("said", ASKED)
def test_what_it_asks_for_is_what_its_row_and_the_network_allow(studio: Studio, said: str) -> None:
    base, predictions = ASKED[said]
    with registered(Toy(lambda index, total: predictions).row()):
        with pytest.raises(InvalidRequest, match=f"guider 'toy' .*{said}"):
            studio.plan(Sheet(base=base.replace(guider="toy")))
        ends = made(studio, base, "cfg", "toy")
    assert isinstance(ends["cfg"], bytes) and "guider 'toy'" in str(ends["toy"])


UNNAMED = Toy(lambda index, total: (Prediction("a"), Prediction("b", "negative")))


@pytest.mark.parametrize(
    ("field", "base"),
    [
        ("guidance_rescale", BASE.replace(guidance_rescale=0.5)),
        (
            "skip_layers",
            FLOW.replace(skip_layers="1", skip_layer_start=0.0, skip_layer_stop=1.0, steps=4),
        ),
    ],
)
def test_what_goes_around_it_needs_the_prediction_cond(
    studio: Studio, field: str, base: Request
) -> None:
    with registered(UNNAMED.row()):
        assert isinstance(made(studio, BASE, "toy")["toy"], bytes)
        with pytest.raises(InvalidRequest, match=rf"{field} .*'cond'.* asks for a, b"):
            studio.plan(Sheet(base=base.replace(guider="toy")))


def test_no_name_of_its_predictions_is_taken(studio: Studio) -> None:
    """The modifiers' own prediction has a name that no guider can take."""
    acting = {"skip_layers": "1", "skip_layer_start": 0.0, "skip_layer_stop": 1.0, "steps": 4}
    base = FLOW.replace(**acting)
    named = Toy(lambda index, total: (COND, Prediction("skip", "negative")))
    with registered(named.row()):
        ends = made(studio, base, "cfg", "toy")
    assert ends["cfg"] == ends["toy"]


# ---- its row


def test_a_changed_one_has_other_addresses_if_it_is_named(studio: Studio) -> None:
    named, own = BASE.replace(guider="toy"), BASE
    with registered(Toy().row()):
        before = [studio.address(one) for one in (named, own)]
    with registered(replace(Toy().row(), version=2)):
        second = [studio.address(one) for one in (named, own)]
    with registered(replace(Toy().row(), version=3)):
        third = [studio.address(one) for one in (named, own)]
    assert before[1] == second[1] == third[1]
    assert len({before[0], second[0], third[0]}) == 3


def test_undoing_a_registration_twice_takes_out_no_other() -> None:
    undo = register(Toy().row())
    undo()
    undo()
    other = Toy().row()
    undo_other = register(other)
    undo()
    assert GUIDERS["toy"] is other
    undo_other()
    assert "toy" not in GUIDERS


NUMBER = Parameter("push", "Push", "float", 0.0, "How hard", low=-1.0, high=1.0)
CHOICE = Parameter("way", "Way", "choice", "up", "Which", choices=("up", "down"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"parameters": (NUMBER, CHOICE, NUMBER)}, "'push' twice"),
        ({"parameters": (replace(NUMBER, default=5.0),)}, "push is 5.0; it must be a number"),
        ({"parameters": (replace(CHOICE, default="left"),)}, "way is 'left'"),
        ({"parameters": (replace(CHOICE, choices=("up", "p:q")),)}, "'p:q'"),
        ({"parameters": (replace(CHOICE, choices=("up", "a=b")),)}, "'a=b'"),
        ({"parameters": (replace(CHOICE, choices=("up", " a")),)}, "' a'"),
        ({"parameters": (replace(NUMBER, name="a:b"),)}, "'a:b'"),
        ({"fields": ("guidance_scale", "bogus")}, "'bogus'"),
        ({"rows": 0}, "rows is 0"),
        ({"version": 0}, "version is 0"),
        ({"id": "a b"}, "no id of letters"),
        ({"id": ""}, "no id of letters"),
    ],
)
def test_a_row_that_cannot_be_right_is_not_registered(row: dict[str, Any], said: str) -> None:
    before = dict(GUIDERS)
    with pytest.raises(InvalidRequest, match=rf"guider '.*{said}"):
        register(replace(Toy().row(), **row))
    assert before == GUIDERS
