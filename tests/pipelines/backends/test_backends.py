"""Every backend gives torch's numbers, keeps what it prepared, and says when it cannot run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import app
from pipelines import InvalidRequest, Request, Sheet, Studio, UnknownName, backends
from pipelines.backends.base import NetworkCache
from pipelines.denoising import engine
from pipelines.denoising.batch_sizes import best
from pipelines.denoising.row import Row
from pipelines.families.base import LoadedModel
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.rendering.trajectories import guided_trajectory
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone
from tests.helpers.evaluation import evaluate

ROOT = Path(app.__file__).parent
openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not here: requirements-openvino.txt"
)
EACH = [pytest.param("compile", id="compile"), pytest.param("openvino", marks=openvino)]
BASE = Request(
    model="tiny", prompt="an apple", negative_prompt="a pear", steps=4, guidance_scale=4.0,
    sampler="ddim", width=32, height=32,
)  # fmt: skip


def rows_of(model: LoadedModel, family: Any, count: int, size: int = 8) -> list[Row]:
    conditions = family.encode(model, ["an apple", "a pear"])
    generator = torch.Generator().manual_seed(count)
    return [
        Row(torch.randn(1, 4, size, size, generator=generator), torch.tensor(t), conditions[i % 2])
        for i, t in enumerate(range(1, 1000, 1000 // count)[:count])
    ]


def latents(how: ComputeOptions, folder: Path, requests: list[Request]) -> list[torch.Tensor]:
    """As the renderer makes them."""
    manager = PipelineManager([folder], device="cpu")
    with manager.use(requests[0].model) as model:
        family = manager.library.open(model.id).family
        texts = sorted({t for r in requests for t in (r.prompt, r.negative_prompt)})
        conditions = dict(zip(texts, family.encode(model, texts), strict=True))
        shape = family.latent_shape(model, requests[0].width, requests[0].height)
        computer = BatchEvaluator(
            how, BatchTimings(None), family, model, latent=shape, memory=10**10
        )
        events = engine.denoise(
            [
                (i, lambda r=r: guided_trajectory(family, model, r, conditions))
                for i, r in enumerate(requests)
            ],
            computer,
        )
        made = {e.cell: e.latents for e in events if isinstance(e, engine.Finished)}
    return [made[i] for i in range(len(requests))]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", EACH)
def test_rows_are_what_torch_says(models: Path, tmp_path: Path, name: str) -> None:
    manager = PipelineManager([models], device="cpu")
    with manager.use("tiny") as model, torch.inference_mode():
        family = manager.library.open("tiny").family
        sizes = (2,) if name == "compile" else (2, 4)  # half a minute each on a slow machine
        place = NetworkCache("tiny", tmp_path)
        denoiser = backends.denoiser_class(name)(family.network(model), place, sizes)
        for count in range(1, max(sizes) + 1):
            rows = rows_of(model, family, count)
            made = denoiser(family.inputs(model, rows))
            assert made.shape == (count, 4, 8, 8)
            assert float((made - evaluate(family, model, rows)).abs().max()) <= 1e-5


@openvino
@pytest.mark.usefixtures("one_thread")
def test_mixed_cells_end_within_the_contract(models: Path, tmp_path: Path) -> None:
    requests = [
        BASE.replace(sampler=sampler, guidance_scale=scale, steps=steps)
        for sampler, scale, steps in [
            ("ddim", 1.0, 4), ("euler_a", 7.5, 5), ("dpmpp_2m", 3.0, 6), ("heun", 4.0, 3),
            ("dpmpp_sde", 5.0, 4), ("lcm", 2.0, 4),
        ]
    ]  # fmt: skip
    plain = latents(ComputeOptions(), models, requests)
    for other in (
        ComputeOptions("openvino", cache=tmp_path),
        ComputeOptions("auto", cache=tmp_path),
    ):
        for request, ours, theirs in zip(
            requests, latents(other, models, requests), plain, strict=True
        ):
            apart = float((ours - theirs).abs().max())
            assert apart <= 1e-4, f"{other.backend}, {request.sampler}: {apart:.1e} apart"


@openvino
def test_the_shipped_model_ends_within_the_contract(tmp_path: Path) -> None:
    requests = [
        BASE.replace(model="emoji", width=128, height=128, sampler=sampler, steps=6, seed=seed)
        for sampler, seed in [("dpmpp_2m", 1), ("euler_a", 2), ("ddim", 3)]
    ]
    plain = latents(ComputeOptions(), ROOT / "models", requests)
    made = latents(ComputeOptions("openvino", cache=tmp_path), ROOT / "models", requests)
    for ours, theirs in zip(made, plain, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-4


@openvino
@pytest.mark.usefixtures("one_thread")
def test_what_was_converted_is_read_and_what_is_damaged_made_anew(
    models: Path, tmp_path: Path
) -> None:
    from pipelines.backends import openvino

    made: list[int] = []
    manager = PipelineManager([models], device="cpu")
    with manager.use("tiny") as model, torch.inference_mode():
        family = manager.library.open("tiny").family

        def run(fingerprint: str, size: int = 8) -> int:
            rows = rows_of(model, family, 2, size)
            denoiser = openvino.OpenVino(
                family.network(model), NetworkCache(fingerprint, tmp_path), (2,)
            )
            output = denoiser(family.inputs(model, rows))
            assert float((output - evaluate(family, model, rows)).abs().max()) <= 1e-5
            made.append(denoiser.conversions)
            return sum(made)

        assert (run("a"), run("a")) == (1, 1)
        assert run("a", size=12) == 2, "another shape is another trace"
        assert run("b") == 3, "another model's weights are not this one's"
        for file in (tmp_path / "converted").glob("*.xml"):
            file.write_text("<net")
        assert run("a") == 4


@openvino
@pytest.mark.usefixtures("one_thread")
def test_auto_measures_all_that_is_cheap_and_takes_the_fastest(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTACT_SHEET_CACHE", str(tmp_path))
    sheet = Sheet(base=BASE.replace(steps=20), axes=(parse_axis("seed=1-8"),))
    studio = Studio(models, device="cpu", backend="auto")
    assert sum(isinstance(event, CellDone) for event in studio.run(sheet)) == 8
    studio.close()
    entries = json.loads((tmp_path / "batches.json").read_text())
    timings = BatchTimings(tmp_path / "batches.json")
    measured = {key.split()[-3]: best(timings.get(key)) for key in entries}
    assert set(measured) == {"torch", "openvino"} and all(measured.values())


@pytest.mark.usefixtures("one_thread")
def test_compile_makes_the_same_pictures(models: Path) -> None:
    from PIL import ImageChops

    compiled = Studio(models, device="cpu", backend="compile", batch=2).image(BASE)
    plain = Studio(models, device="cpu").image(BASE)
    assert max(high for _, high in ImageChops.difference(compiled, plain).getextrema()) <= 2


@pytest.mark.usefixtures("one_thread")
def test_compiled_blocks_give_the_same_numbers_and_leave_the_network_as_it_was(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    from pipelines.backends.compiled import CompiledBlocks, repeated_blocks

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    manager = PipelineManager([models], device="cpu")
    with manager.use("tiny") as model, torch.inference_mode():
        family = manager.library.open("tiny").family
        rows = rows_of(model, family, 2, 8)
        plain = evaluate(family, model, rows)
        network = family.network(model)
        blocks = repeated_blocks(network)
        assert {type(block).__name__ for block in blocks} == {"BasicTransformerBlock"}
        for time in ("first", "again"):
            torch._dynamo.reset()
            counters.clear()
            denoiser = CompiledBlocks(network, NetworkCache("a", tmp_path), (2,))
            output = denoiser(family.inputs(model, rows))
            assert float((output - plain).abs().max()) <= 1e-5
            assert all(block._compiled_call_impl is None for block in blocks)
            compiled = counters["stats"]["unique_graphs"]
            assert compiled > 0, "it was computed by what was compiled"
            hits = counters["inductor"]["fxgraph_cache_hit"]
            assert (hits > 0) == (time == "again"), "kernels are kept on disk"
    assert any(tmp_path.rglob("*.so")), "in the cache folder"


def test_blocks_that_repeat_are_found_in_every_family() -> None:
    from pipelines.backends.compiled import repeated_blocks
    from tests.helpers import tiny_families as zoo

    def names(network: torch.nn.Module) -> set[str]:
        return {type(block).__name__ for block in repeated_blocks(network)}

    assert names(zoo.sdxl().unet) == {"BasicTransformerBlock"}
    assert names(zoo.sd3().transformer) == {"JointTransformerBlock"}
    assert names(zoo.flux().transformer) == {"FluxTransformerBlock", "FluxSingleTransformerBlock"}


def test_names_and_devices_are_checked_beforehand(models: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'openvino'"):
        Studio(models, backend="openvin")
    with pytest.raises(InvalidRequest, match="computes on cpu, not on cuda:0; take torch or"):
        backends.fitting("openvino", "cuda:0")
    assert backends.fitting("auto", "cuda") == ["torch", "compile", "blocks"]


def test_a_missing_library_is_said_with_its_command() -> None:
    code = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = lambda name, *a: None if name == 'openvino' else find(name, *a)\n"
        "from pipelines import Studio, InvalidRequest\n"
        "try: Studio('models', backend='openvino')\n"
        "except InvalidRequest as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "not installed" in said and "pip install -r requirements-openvino.txt" in said


@openvino
def test_openvino_reports_to_nobody() -> None:
    code = (
        "import sys\nseen = []\n"
        "sys.addaudithook(lambda e, a: seen.append(e) if e.startswith('socket.') else None)\n"
        "import pipelines.backends.openvino, openvino.tools.ovc.telemetry_utils as told\n"
        "print(seen, told.tm.__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=True, env=environment,
    ).stdout  # fmt: skip
    assert said.split() == ["[]", "openvino.tools.ovc.telemetry_stub"]


def test_exact_bits_are_kept_apart_by_what_decides_them() -> None:
    marks = [
        ComputeOptions(exact=True), ComputeOptions(exact=True, backend="openvino"),
        ComputeOptions(exact=True, batch=8), ComputeOptions(),
    ]  # fmt: skip
    assert len({how.mark for how in marks}) == 4 and marks[0].mark == " exact"
    assert ComputeOptions("openvino", 8).mark == "", "contract: pixels do not show it"
    assert ComputeOptions("auto", exact=True).mark == " exact", "what is fastest may change"
