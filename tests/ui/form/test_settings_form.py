"""What the form means, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipelines import ContactSheetError, Request, Studio
from pipelines.request.request import SEED_MAX
from tests.helpers.guiders import registered
from tests.helpers.tiny import save_sd
from tests.helpers.tiny_families import MAKERS
from ui.form.settings_form import SettingsForm, random_seed


@pytest.fixture
def form(models: Path) -> SettingsForm:
    with gr.Blocks():
        form = SettingsForm("form")
        form.add_prompts()
        form.add_settings(Studio(models))
    return form


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a negative prompt, one with a guidance of its own, and SD."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("lcm", "flux-dev", "flux-schnell"):
        MAKERS[name]().save_pretrained(folder / name, safe_serialization=True)
    save_sd(folder / "sd")
    return folder


@pytest.fixture
def zoo_form(zoo: Path) -> SettingsForm:
    with gr.Blocks():
        form = SettingsForm("form")
        form.add_prompts()
        form.add_settings(Studio(zoo))
    return form


def offered(menu: Any) -> list[str]:
    return [id for _, id in menu.choices]


def test_the_form_follows_the_model_it_opens_with(zoo_form: SettingsForm) -> None:
    assert zoo_form["model"].value == "flux-dev"
    assert zoo_form["distilled_guidance"].visible and zoo_form["negative_prompt"].visible
    assert offered(zoo_form["sampler"]) == [zoo_form["sampler"].value] == ["flow_euler"]


@pytest.mark.parametrize(
    ("model", "negative", "distilled", "sampler"),
    [
        ("sd", True, False, "dpmpp_2m"),
        ("lcm", False, False, "lcm"),
        ("flux-dev", True, True, "flow_euler"),
        ("flux-schnell", True, False, "flow_euler"),
    ],
)
def test_the_form_follows_the_model(
    zoo_form: SettingsForm, zoo: Path, model: str, negative: bool, distilled: bool, sampler: str
) -> None:
    fitting = list(Studio(zoo).supports(model).samplers)
    chosen = Request(model=model, sampler=sampler)
    for updates in (zoo_form.recommend(model), zoo_form.fill(chosen)):
        assert updates[zoo_form["negative_prompt"]].visible is negative
        assert updates[zoo_form["distilled_guidance"]].visible is distilled
        assert updates[zoo_form["sampler"]].value == sampler
        assert offered(updates[zoo_form["sampler"]]) == fitting


def test_what_is_hidden_does_not_count(zoo_form: SettingsForm) -> None:
    """It was typed for another model; without it the settings are possible."""
    fields = {name: part.value for name, part in zoo_form.parts.items()}
    typed = {"negative_prompt": "dark", "distilled_guidance": 2.0, "skip_layers": "7+8"}
    kept, _ = zoo_form.read({**fields, **typed})
    assert (kept.negative_prompt, kept.distilled_guidance) == ("dark", 2.0)
    assert kept.skip_layers == ()
    hidden, _ = zoo_form.read({**fields, **typed, "model": "lcm", "sampler": "lcm"})
    assert (hidden.negative_prompt, hidden.distilled_guidance) == ("", None)


@pytest.fixture
def fields(form: SettingsForm) -> dict[str, Any]:
    """The form as a page that was just opened has it."""
    return {name: part.value for name, part in form.parts.items()}


def test_every_field_of_a_request_is_in_the_form(form: SettingsForm) -> None:
    assert set(form.parts) == {*Request.model_fields, "count", "size", "seed_mode"} - {"controls"}


def test_an_untouched_form_is_a_valid_request(form: SettingsForm, fields: dict[str, Any]) -> None:
    request, count = form.read(fields)
    assert (request.model, request.width, count) == ("basic", None, 1)


def test_random_seeds_differ_and_leave_room(form: SettingsForm, fields: dict[str, Any]) -> None:
    seeds = {form.read({**fields, "seed": 5})[0].seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(random_seed(16) + 15 <= SEED_MAX for _ in range(100))
    assert form.read({**fields, "seed": 5, "seed_mode": "fixed"})[0].seed == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "from 1 to 16"),
        ({"count": 1.5}, "from 1 to 16"),
        ({"count": None}, "from 1 to 16"),
        ({"count": float("nan")}, "from 1 to 16"),
        ({"size": "custom", "width": 64, "height": None}, "both a width and a height"),
        ({"size": "huge"}, "width is 'huge'"),
        ({"steps": None}, "steps is None; it must be a whole number"),
        ({"sampler": "eulr"}, "did you mean 'euler'"),
        ({"schedule": "karras", "sampler": "ddim"}, "has no schedule 'karras'"),
    ],
)
def test_bad_fields_say_what_is_allowed(
    form: SettingsForm, fields: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContactSheetError, match=message):
        form.read({**fields, **changes})


@pytest.mark.parametrize("kept", [None, "x", {}, {"prompt": "a"}, {"steps": 0}])
def test_a_form_kept_by_a_browser_is_checked(
    form: SettingsForm, fields: dict[str, Any], kept: Any
) -> None:
    assert form.restore(kept) == {}
    if kept == {"steps": 0}:
        assert form.restore({**fields, **kept}) == {}
    assert form.restore({**fields, "prompt": "kept"})[form["prompt"]] == "kept"


def test_loras_go_through_the_form(form: SettingsForm, fields: dict[str, Any]) -> None:
    request, _ = form.read({**fields, "loras": ["ink", "oil:0.5"]})
    assert [(one.name, one.scale) for one in request.loras] == [("ink", 1.0), ("oil", 0.5)]
    assert form.fill(request)[form["loras"]] == ["ink", "oil:0.5"]
    with pytest.raises(ContactSheetError, match=r"LoRA scale is '5'; .* -4 to 4"):
        form.read({**fields, "loras": ["ink:5"]})
    kept = form.restore({**fields, "loras": ["ink:0.5"]})
    assert kept[form["loras"]] == ["ink:0.5"]


def test_guiders_are_a_menu_only_where_there_is_a_choice(zoo: Path) -> None:
    with gr.Blocks():
        plain = SettingsForm("plain")
        plain.add_prompts()
        plain.add_settings(Studio(zoo))
        with registered():
            form = SettingsForm("form")
            form.add_prompts()
            form.add_settings(Studio(zoo))
            of_lcm, of_sd = form.recommend("lcm"), form.recommend("sd")
            opened = {name: part.value for name, part in form.parts.items()}
            filled = form.fill(Request(model="sd", guider="pushed:push=0.5"))
            read, _ = form.read({**opened, "model": "sd", "guider": "pushed:push=0.5"})
            hidden, _ = form.read({**opened, "model": "lcm", "guider": "pushed"})
    assert not plain["guider"].visible and form["guider"].visible
    assert offered(form["guider"]) == ["", "pushed"]
    assert of_sd[form["guider"]].visible and not of_lcm[form["guider"]].visible
    assert filled[form["guider"]].value == "pushed:push=0.5"
    assert read.guider == "pushed:push=0.5" and hidden.guider == ""
