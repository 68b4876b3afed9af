"""Guiders as rows: a toy, added by one row and one class, is a guider like the others."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import app
from pipelines import InvalidRequest, Request, Sheet, Studio, UnknownName
from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.guiders.base import row_count
from pipelines.denoising.guiders.checked import NetworkInputs
from pipelines.denoising.guiders.registry import GUIDERS, MODIFIERS, Choice, register
from pipelines.denoising.trajectory import initial_noise, trajectory
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone, RunFinished
from pipelines.runs.png_metadata import settings_text
from pipelines.samplers import SAMPLERS, build
from tests.helpers.analytic import BETAS, log_sigma
from tests.helpers.guiders import PUSHED, Pushed, registered
from tests.helpers.tiny import save_sd
from tests.helpers.tiny_families import MAKERS

EXTENDING = Path(app.__file__).parent / "docs" / "extending.md"

BASE = Request(
    model="tiny", prompt="an apple", negative_prompt="leaf", sampler="ddim", steps=3, seed=2
)


@pytest.fixture
def toy() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_sd(folder / "tiny")
    MAKERS["lcm"]().save_pretrained(folder / "lcm", safe_serialization=True)
    return folder


@pytest.fixture
def studio(folder: Path, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(folder, tmp_path / "outputs", device="cpu", exact=True)
    yield studio
    studio.close()


def test_a_toy_makes_pictures_beside_the_models_own(studio: Studio, toy: None) -> None:
    """cfg, the toy without its push (classifier-free guidance where nothing is named), with it."""
    base = BASE.replace(negative_prompt="", guidance_scale=3.0)
    sheet = Sheet(base=base, axes=(parse_axis("guider=cfg,pushed,pushed:push=0.3"),))
    plan = studio.plan(sheet)
    assert plan.cost.rows == 3 * (2 + 3 + 3)
    events = list(studio.submit(plan).events())
    made = {e.cell: e.image.tobytes() for e in events if isinstance(e, CellDone)}
    assert len(made) == 3 and made[0] == made[1] != made[2]
    # No prompt and an empty one are the same text: the toy's third row is there already.
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert end.stats.rows_naive == 24 and end.stats.rows_computed == 2 + 4 + 4
    assert [cell.guider for cell in plan.requests] == ["", "pushed", "pushed:push=0.3"]
    assert studio.address(base.replace(guider="cfg")) == studio.address(base)
    assert studio.finished(base.replace(guider="pushed:push=0.3")) is not None


def test_the_settings_say_which_unless_it_is_the_models_own(studio: Studio, toy: None) -> None:
    chosen = studio.resolve(BASE.replace(guider=" pushed : push=0.50 "))
    assert chosen.guider == "pushed:push=0.5"
    assert "Guider: " in settings_text(chosen) and '"pushed:push=0.5"' in settings_text(chosen)
    assert Request.from_json(chosen.to_json()) == chosen
    own = studio.resolve(BASE.replace(guider="cfg"))
    assert own == studio.resolve(BASE)
    assert "Guider" not in settings_text(own) and "guider" not in own.to_json()


@pytest.mark.parametrize(
    ("guider", "kind", "message"),
    [
        ("pushd", UnknownName, r"unknown guider 'pushd'; did you mean 'pushed'\? \(python app.py"),
        ("pushed:pull=1", UnknownName, "unknown parameter of guider 'pushed': 'pull'"),
        ("cfg:push=1", UnknownName, r"unknown parameter of guider 'cfg': 'push'; \(cfg has none\)"),
        ("pushed:push=2", InvalidRequest, "push is '2'; it must be a number from -1 to 1"),
        ("pushed:push", InvalidRequest, "write each parameter once, as :name=value"),
        ("pushed:push=1:push=0", InvalidRequest, "write each parameter once"),
        ("embedded", InvalidRequest, "'embedded' does not fit 'tiny', .*it takes cfg, pushed"),
    ],
)
def test_what_is_not_there_is_refused(
    studio: Studio, toy: None, guider: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        studio.submit(Sheet(base=BASE.replace(guider=guider)))
    assert studio.runs == []


def test_a_network_that_is_told_its_scale_takes_its_own_alone(studio: Studio, toy: None) -> None:
    assert studio.supports("lcm").guiders == ("embedded",)
    lcm = Request(model="lcm", sampler="lcm", steps=2)
    with pytest.raises(InvalidRequest, match="'pushed' does not fit 'lcm'"):
        studio.resolve(lcm.replace(guider="pushed"))
    assert studio.resolve(lcm.replace(guider="embedded")).guider == ""


def test_the_table_lists_it_while_it_is_there() -> None:
    def listed() -> dict[str, dict[str, object]]:
        result = CliRunner().invoke(app.app, ["guiders", "--json"])
        assert result.exit_code == 0
        return {row["id"]: row for row in json.loads(result.stdout)}

    assert list(listed()) == [
        "cfg", "embedded", "skip_layer", "rescale", "distilled", "composed",
    ]  # fmt: skip
    assert listed()["skip_layer"]["chosen by"] == "skip_layers"
    with registered():
        row = listed()["pushed"]
        assert (row["rows a step"], row["parameters"]) == ("3", ["push"])
        with pytest.raises(InvalidRequest, match="there is a guider 'pushed' already"):
            register(PUSHED)
    assert "pushed" not in listed() and "pushed" not in GUIDERS


def test_rows_name_fields_that_are_there() -> None:
    for row in [*GUIDERS.values(), *MODIFIERS.values()]:
        assert row.fields and set(row.fields) <= set(Request.model_fields)
    for row in GUIDERS.values():
        built = Choice.read(row.id).guider(BASE, NetworkInputs(guidance=row.embedded))
        assert 0 < row_count(built, 5) <= 5 * row.rows


@pytest.mark.parametrize(
    "sampler", [row.id for row in SAMPLERS.values() if row.kind == "diffusion"]
)
def test_a_guider_sees_where_the_trajectory_stands(sampler: str) -> None:
    """σ of every evaluation is that of the network's timestep; clean latents are the family's."""
    guider = Pushed(2.0, 0.0)
    noise, generator = initial_noise((1, 2, 2), 0)
    walk = trajectory(build(sampler, "default", BETAS, 4, 0), noise, generator)
    texts = {"prompt": "c", "negative": "u", "empty": "e"}
    asked: list[tuple[int, float]] = []

    def denoised(step, output):  # type: ignore[no-untyped-def]
        asked.append((step.index, float(log_sigma(step.t).exp())))
        return step.x - output

    guided = GuidedTrajectory(walk, guider, texts, denoised=denoised)
    rows = guided.start()
    while rows:
        assert [row.condition for row in rows] == ["c", "u", "e"]
        x = rows[0].x
        rows = guided.advance([0.5 * x, 0.25 * x, 0.125 * x])
        assert torch.equal(guider.seen[-1][2], 0.5 * x)
        assert guided.last is not None and torch.equal(guided.last[1], 0.625 * x)
    assert [index for index, _, _ in guider.seen] == [index for index, _ in asked]
    assert [sigma for _, sigma, _ in guider.seen] == pytest.approx(
        [sigma for _, sigma in asked], rel=1e-4
    )


def example_of_the_docs() -> str:
    """The script in the section on guiders."""
    section = EXTENDING.read_text().partition("## A guider\n")[2].partition("\n## ")[0]
    return section.partition("```python\n")[2].partition("```")[0]


def test_the_example_of_the_docs_makes_pictures(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scale is full at the first evaluation: one step is classifier-free guidance."""
    script = tmp_path / "fading.py"
    script.write_text(example_of_the_docs())
    before = dict(GUIDERS)
    try:
        runpy.run_path(str(script))
        base = BASE.replace(guidance_scale=3.0)
        one_step = [base.replace(steps=1, guider=guider) for guider in ("cfg", "fading")]
        assert len({studio.image(one).tobytes() for one in one_step}) == 1
        more = [base.replace(guider=guider) for guider in ("cfg", "fading")]
        assert len({studio.image(one).tobytes() for one in more}) == 2
        monkeypatch.setattr("sys.argv", ["fading.py", "guiders"])
        with pytest.raises(SystemExit) as ended:
            GUIDERS.pop("fading")
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == 0 and "fading" in GUIDERS
    finally:
        for id in set(GUIDERS) - set(before):
            del GUIDERS[id]
