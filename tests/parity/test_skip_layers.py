"""Skip-layer guidance: parity is in test_families.py; here are its rows, its words, its company."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import app
from pipelines import Control, InvalidRequest, Request, Sheet, Studio
from pipelines.denoising.guiders.base import row_count
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.rendering.trajectories import guidance_for
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.labels import index_text
from pipelines.runs.png_metadata import settings_text
from tests.helpers.guiders import combine
from tests.helpers.tiny_families import sd3, sd3_controlnet
from tests.parity.test_controlnet import ONE, Made, apart
from ui.cli.options import read_skip

pytestmark = pytest.mark.usefixtures("one_thread")
SKIPPING = {"steps": 4, "sampler": "flow_euler", "skip_layers": "1", "skip_layer_stop": 0.8}
BASE = Request(model="sd3", prompt="an apple", seed=3, width=32, height=32, as_diffusers=True,
               **SKIPPING)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skip")
    sd3(layers=4).save_pretrained(folder / "sd3", safe_serialization=True)
    sd3_controlnet(1).save_pretrained(folder / "edges", safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def manager(folder: Path) -> PipelineManager:
    return PipelineManager([folder], device="cpu")


def test_it_is_one_more_row_in_its_window(folder: Path) -> None:
    studio = Studio(folder, device="cpu")
    supports = studio.supports("sd3")
    assert supports.skip_layers == 4

    def rows(evaluations: int = 4, **changes: Any) -> int:
        guider = guidance_for(BASE.replace(**changes), supports)
        return row_count(guider, evaluations)

    # Evaluations 1, 2 and 3: the window has neither of its ends.
    assert rows() == 4 * 2 + 3
    assert rows(skip_layer_start=0.25, skip_layer_stop=0.75) == 4 * 2 + 1
    assert rows(guidance_scale=1.0) == rows(guidance_scale=0.0) == 4
    assert rows(guidance_stop=0.5) == 2 * 3 - 1 + 2
    assert rows(skip_layers="none") == 8
    assert studio.plan(Sheet(base=BASE)).cost.rows == 11
    studio.close()


def test_cells_share_what_is_skipped(manager: PipelineManager) -> None:
    """Scales share the row without the layers; cells that skip others get batches of their own."""
    scales = [BASE.replace(skip_layer_scale=scale, steps=3) for scale in (1.0, 2.8, 5.0)]
    tally = Made(manager, scales).tally
    # Evaluation 0 is alike, and so are the rows of 1; then latents differ.
    assert tally.rows_naive == 3 * (2 + 3 + 3)
    assert tally.rows_computed == 2 + 3 + 9
    assert tally.batches == 1 + 2 + 2
    layers = [BASE.replace(skip_layers=some, steps=3) for some in ("0", "1", "0+1")]
    assert Made(manager, layers).tally.batches == 1 + 4 + 4


def test_layers_are_a_set() -> None:
    assert BASE.replace(skip_layers="9, 7 8+7") == BASE.replace(skip_layers=(7, 8, 9))
    assert BASE.replace(skip_layers="none") == BASE.replace(skip_layers=())
    for bad in ("7-9", "a", "7+", (-1,), (True,), 7, (1.5,)):
        with pytest.raises(InvalidRequest, match=r"skip_layers is .*, such as 7\+8\+9, or none"):
            BASE.replace(skip_layers=bad)
    with pytest.raises(InvalidRequest, match=r"skip_layer_start 0\.3 is after skip_layer_stop 0"):
        BASE.replace(skip_layer_start=0.3, skip_layer_stop=0.2)


def test_it_is_an_axis_and_says_what_it_is() -> None:
    axis = parse_axis("skip_layers=none, 7+8+9, 7")
    sheet = Sheet(base=Request(), axes=(axis, parse_axis("skip_layer_scale=1, 2.8")))
    cells = sheet.expand()
    assert [cell.skip_layers for cell in cells[::2]] == [(), (7, 8, 9), (7,)]
    assert index_text(sheet, (1, 1)) == "skipping layers 7+8+9, skip scale 2.8"
    assert "skip" not in settings_text(cells[1]).lower()
    text = settings_text(cells[3])
    assert "Skip layers: 7+8+9, Skip layer scale: 2.8, Skip layer start: 0.01" in text
    assert Request.from_json(cells[3].to_json()) == cells[3]


def test_rescale_tames_the_whole_of_it() -> None:
    cond, uncond, skipped = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    guided = combine(cond, uncond, 5.0, 1.0, skipped, 3.0)
    assert float(guided.std() - cond.std()) == pytest.approx(0.0, abs=1e-6)
    plain = combine(cond, uncond, 5.0, 0.0, skipped, 3.0)
    assert apart(plain, uncond + 5.0 * (cond - uncond) + 3.0 * (cond - skipped)) <= 1e-5


def test_exact_mode_is_exact(manager: PipelineManager) -> None:
    how = ComputeOptions(exact=True)
    cells = [BASE.replace(skip_layers=some, steps=2) for some in ("none", "0", "0+2")]
    for cell, together in zip(cells, Made(manager, cells, how).latents, strict=True):
        assert torch.equal(together, Made(manager, [cell], how).latents[0])


def test_a_control_pulls_at_the_row_without_the_layers_too(manager: PipelineManager) -> None:
    """As if each row had been asked of the transformer by itself."""
    (control,) = (Control(image=ONE, model="edges", strength=0.7),)
    cell = BASE.replace(controls=(control,))
    made = Made(manager, [cell])
    # The row with the prompt and the one without the layers ask the ControlNet the same.
    assert made.tally.control_rows == 4 * 2 and made.tally.control_rows_naive == 4 * 2 + 3
    (without,) = Made(manager, [cell.replace(skip_layers="none")]).latents
    (uncontrolled,) = Made(manager, [cell.replace(controls=())]).latents
    assert apart(made.latents[0], without) > 1e-2 < apart(made.latents[0], uncontrolled)


def test_whatever_the_backend_torch_computes_it(manager: PipelineManager) -> None:
    pytest.importorskip("openvino")
    with manager.use("sd3") as model:
        family = manager.library.open("sd3").family
        computer = BatchEvaluator(
            ComputeOptions("openvino", 4),
            BatchTimings(None),
            family,
            model,
            latent=(4, 8, 8),
            memory=2**33,
            skips=True,
        )
        assert computer.backend == "torch"


def test_through_the_studio_and_the_command_line(folder: Path, tmp_path: Path) -> None:
    flags = ["--models", str(folder), "--model", "sd3", "--steps", "4", "--device", "cpu"]
    said = "1+2:scale=2, stop=0.8"
    call = ["generate", "x", *flags, "--skip-layers", said, "--out", str(tmp_path / "a.png")]
    assert CliRunner().invoke(app.app, call).exit_code == 0
    info = CliRunner().invoke(app.app, ["info", str(tmp_path / "a.png")])
    request = Request(**json.loads(info.stdout))
    assert request.skip_layers == (1, 2)
    assert (request.skip_layer_scale, request.skip_layer_start) == (2.0, 0.01)
    assert request.skip_layer_stop == 0.8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7+8:2", "'2' is no setting; write each of scale, start, stop once"),
        ("7:scale=1,scale=2", "'scale=2' is no setting"),
        ("7:size=1", "'size=1' is no setting"),
        ("7:stop=2", "skip_layer_stop is '2'; it must be a number from 0 to 1"),
        ("7..9", "skip_layers is '7..9'; it must be numbers of layers"),
    ],
)
def test_options_written_wrongly(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Request(**read_skip(text))
