"""Controls against diffusers' own ControlNet pipeline, and what they share in a sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.controls import controlled_call
from bench.peer import Peer
from pipelines import Control, Request, Sheet, Studio
from pipelines.controlnet.adapter import controls_of
from pipelines.controlnet.conditioner import ControlConditioner
from pipelines.controlnet.control_maps import Maps
from pipelines.controlnet.residuals import Residuals
from pipelines.denoising import engine
from pipelines.denoising.evaluator import Tally
from pipelines.model_manager.lora_patcher import applied
from pipelines.model_manager.manager import PipelineManager
from pipelines.preprocessors import cache_stats
from pipelines.rendering import trajectories
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone, Stats
from pipelines.runs.image_store import ImageStore

pytestmark = pytest.mark.usefixtures("one_thread")
SHELF = ImageStore()
ONE, TWO = (
    SHELF.add(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)))
    for seed in (1, 2)
)
CANNY = Control(image=ONE, model="canny")
DEPTH = Control(image=TWO, model="depth", strength=0.6)
BASE = Request(
    model="tiny", prompt="an apple", negative_prompt="a pear", steps=6, guidance_scale=4.5,
    sampler="euler_a", seed=11, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def manager(models: Path, controlnets: Path) -> PipelineManager:
    return PipelineManager([models, controlnets], device="cpu")


class Made:
    """Latents of Requests, denoised together as the renderer does it, and what that took."""

    def __init__(
        self,
        manager: PipelineManager,
        requests: Sequence[Request],
        how: ComputeOptions | None = None,
    ) -> None:
        how = how or ComputeOptions(batch=16)
        self.tally = Tally()
        nets = list(dict.fromkeys(net for r in requests for net in r.controlnets))
        first = requests[0]
        family = manager.library.open(first.model).family
        with (
            manager.use(first.model, nets, first.lora_names) as plain,
            applied(plain, family, first.active_loras) as model,
        ):
            controls = controls_of(family.spec)
            assert controls is not None
            conditions = trajectories.encode_prompts(family, model, requests, alone=True)
            residuals = Residuals(controls, model, self.tally, 8 if how.exact else None)
            computer = BatchEvaluator(
                how,
                BatchTimings(None),
                family,
                model,
                latent=(4, 8, 8),
                memory=10**10,
                residuals=residuals,
                tally=self.tally,
            )
            conditioner = ControlConditioner(family, model, Maps(SHELF).of)
            events = engine.denoise(
                [
                    (
                        i,
                        lambda r=r: trajectories.guided_trajectory(
                            family, model, r, conditions, conditioner.controls(r)
                        ),
                    )
                    for i, r in enumerate(requests)
                ],
                computer,
                exact=how.exact,
            )
            made: dict[int, torch.Tensor] = {}
            for event in events:
                assert not isinstance(event, engine.Failed), event
                if isinstance(event, engine.Finished):
                    made[event.cell] = event.latents
            assert residuals.kept == 0, "what no row needs any more is kept"
        self.latents = [made[i] for i in range(len(requests))]


def theirs(manager: PipelineManager, request: Request) -> torch.Tensor:
    """What StableDiffusionControlNetPipeline makes of a Request with controls."""
    import diffusers

    controls = request.controls
    with manager.use(request.model, request.controlnets) as model:
        nets = [model.controlnets[str(one.model)] for one in controls]
        pipe = diffusers.StableDiffusionControlNetPipeline(
            **model.components,
            controlnet=nets if len(nets) > 1 else nets[0],
            scheduler=diffusers.DDIMScheduler.from_config(model.configs["scheduler"]),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    call = controlled_call(request, SHELF.get)
    return Peer(pipe).make(request, output_type="latent", **call)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


GUESS = {"mode": "control"}
CASES: dict[str, tuple[tuple[Control, ...], dict[str, Any]]] = {
    "one": ((CANNY,), {}),
    "strong": ((CANNY.replace(strength=2.0),), {}),
    "two": ((CANNY, DEPTH), {}),
    "one net, two maps": ((CANNY, CANNY.replace(image=TWO, strength=0.3)), {}),
    "unguided": ((CANNY,), {"guidance_scale": 1.0}),
    "window": ((CANNY.replace(start=0.2, stop=0.7),), {}),
    "two windows": ((CANNY.replace(stop=0.5), DEPTH.replace(start=0.4)), {}),
    "heun's window": ((CANNY.replace(start=0.25, stop=0.5),), {"sampler": "heun"}),
    "guess": ((CANNY.replace(**GUESS),), {}),
    "guess, unguided": ((CANNY.replace(**GUESS),), {"guidance_scale": 1.0}),
    "guess, no prompt": ((CANNY.replace(**GUESS, strength=0.7),), {"prompt": ""}),
    "guess, two": ((CANNY.replace(**GUESS), DEPTH.replace(**GUESS)), {}),
    "reversed channels": ((CANNY.replace(model="bgr"),), {}),
    "pooled": ((CANNY.replace(model="pooled"),), {}),
    "guess, pooled": ((CANNY.replace(**GUESS, model="pooled"),), {}),
    "v-prediction": ((CANNY,), {"model": "tinyv", "sampler": "ddim"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_control_does_what_diffusers_does(manager: PipelineManager, case: str) -> None:
    controls, changes = CASES[case]
    request = BASE.replace(controls=controls, **changes)
    (ours,) = Made(manager, [request]).latents
    assert apart(ours, theirs(manager, request)) <= 1e-4
    (without,) = Made(manager, [request.replace(controls=())]).latents
    assert apart(ours, without) > 1e-2, "the control does nothing"


def test_all_of_them_in_one_sheet(manager: PipelineManager) -> None:
    requests = [
        BASE.replace(controls=controls, **changes)
        for controls, changes in CASES.values()
        if "model" not in changes
    ]
    for request, ours in zip(requests, Made(manager, requests).latents, strict=True):
        assert apart(ours, theirs(manager, request)) <= 1e-4


CONTROLS = st.builds(
    lambda window, **fields: Control(start=min(window), stop=max(window), **fields),
    window=st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])] * 2),
    image=st.sampled_from([ONE, TWO]),
    model=st.sampled_from(["canny", "depth", "bgr", "pooled"]),
    strength=st.sampled_from([0.0, 0.4, 1.0, 1.6]),
    mode=st.sampled_from(["balanced", "prompt", "control"]),
)
CELLS = st.builds(
    BASE.replace,
    controls=st.lists(CONTROLS, max_size=3),
    sampler=st.sampled_from(["ddim", "euler_a", "heun", "dpmpp_2m"]),
    guidance_scale=st.sampled_from([0.0, 1.0, 5.0]),
    guidance_stop=st.sampled_from([0.5, 1.0]),
    steps=st.integers(1, 5),
    seed=st.integers(0, 1),
)


def test_a_cell_is_the_same_alone_and_in_company(manager: PipelineManager) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.lists(CELLS, min_size=2, max_size=6), st.integers(1, 9))
    def check(cells: list[Request], batch: int) -> None:
        together = Made(manager, cells, ComputeOptions(batch=batch))
        assert together.tally.control_rows <= together.tally.control_rows_naive
        for cell, ours in zip(cells, together.latents, strict=True):
            assert apart(ours, Made(manager, [cell]).latents[0]) <= 1e-4

    check()


def test_exact_mode_is_exact_under_control(manager: PipelineManager) -> None:
    cells = [
        BASE.replace(controls=(CANNY.replace(strength=s), DEPTH.replace(mode=mode)), steps=3)
        for s in (0.4, 1.0)
        for mode in ("balanced", "control")
    ] + [BASE]
    how = ComputeOptions(exact=True)
    for cell, ours in zip(cells, Made(manager, cells, how).latents, strict=True):
        assert torch.equal(ours, Made(manager, [cell], how).latents[0])


def test_strength_0_and_an_empty_window_are_no_control(manager: PipelineManager) -> None:
    for control in (CANNY.replace(strength=0.0), CANNY.replace(start=0.5, stop=0.5)):
        made = Made(manager, [BASE.replace(controls=(control,))])
        assert torch.equal(made.latents[0], Made(manager, [BASE]).latents[0])
        assert made.tally.control_rows == made.tally.control_rows_naive == 0


def test_prompt_first_weighs_both_sides(manager: PipelineManager) -> None:
    """Its weights are guess mode's: without guidance the two are one."""
    plain = BASE.replace(guidance_scale=1.0)
    soft, guess = (
        Made(manager, [plain.replace(controls=(CANNY.replace(mode=mode),))]).latents[0]
        for mode in ("prompt", "control")
    )
    assert torch.equal(soft, guess)
    pair = [BASE.replace(controls=(CANNY.replace(mode=mode),)) for mode in ("prompt", "control")]
    assert apart(*Made(manager, pair).latents) > 1e-2


@pytest.fixture
def studio(models: Path, controlnets: Path) -> Iterator[Studio]:
    """With both pictures at hand."""
    studio = Studio([models, controlnets], device="cpu")
    for image in (ONE, TWO):
        studio.add_picture(SHELF.get(image))
    yield studio
    studio.close()


def stats(studio: Studio, *axes: str, **changes: Any) -> Stats:
    sheet = Sheet(base=BASE.replace(**changes), axes=tuple(map(parse_axis, axes)))
    run = studio.submit(sheet)
    assert all(isinstance(event, object) for event in run.watch())
    snapshot = run.snapshot()
    assert [cell.error for cell in snapshot.cells] == [None] * len(snapshot.cells)
    return snapshot.stats


def test_strength_by_guidance_is_one_run(studio: Studio) -> None:
    """First step: 2 ControlNet rows for all 12 cells (text, no text), 2 × 4 of the denoiser (one
    strength is 0). Then every cell its own."""
    found = stats(
        studio, "control_strength=0,0.5,1,1.5", "guidance_scale=2,4,6", steps=5, controls=(CANNY,)
    )
    assert found.cells == 12
    assert (found.rows_naive, found.rows_computed) == (12 * 2 * 5, 4 * 2 + 12 * 2 * 4)
    assert (found.control_rows_naive, found.control_rows) == (9 * 2 * 5, 2 + 9 * 2 * 4)


def test_modes_share_the_controlnet_of_their_first_step(studio: Studio) -> None:
    """With text two ways (prompt and control add the same there), without it three."""
    found = stats(studio, "control_mode=balanced,prompt,control", steps=1, controls=(CANNY,))
    assert (found.rows_computed, found.control_rows_naive, found.control_rows) == (5, 5, 2)


def test_a_stop_sweep_shares_its_whole_prefix(studio: Studio) -> None:
    found = stats(
        studio, "control_stop=0.25,0.5,0.75,1", steps=8, guidance_scale=1.0, controls=(CANNY,)
    )
    assert found.control_rows_naive == 2 + 4 + 6 + 8
    assert found.control_rows == 8, "cells part only where their windows end"
    assert found.rows_computed == 8 + 6 + 4 + 2


def test_nothing_is_computed_outside_the_window(studio: Studio) -> None:
    control = CANNY.replace(start=0.5, stop=0.75)
    found = stats(studio, steps=8, guidance_scale=1.0, controls=(control,))
    assert (found.rows_computed, found.control_rows) == (8, 2)


def test_a_map_is_made_and_embedded_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    with studio.manager.use("tiny", ["canny"]) as model:
        embedding = model.controlnets["canny"].controlnet_cond_embedding
        embedding.register_forward_hook(lambda *_: seen.append(1))
    # Pictures that no other test has: maps are kept for the whole process.
    grey = [Image.new("RGB", (32, 32), (shade, 7, 7)) for shade in (80, 81)]
    one, two = map(studio.add_picture, grey)
    control, before = CANNY.replace(image=one), cache_stats().runs
    axes = ("control_strength=0.5,1", "prompt=an apple,a pear", "seed=1-3")
    stats(studio, *axes, steps=2, controls=(control,))
    assert (cache_stats().runs - before, len(seen)) == (1, 1)
    stats(studio, "prompt=a plum", "control_stop=0.5,1", steps=2, controls=(control,))
    assert cache_stats().runs == before + 1, "another prompt or window needs no other map"
    stats(studio, f"control_image={one},{two}", steps=2, controls=(control,))
    assert (cache_stats().runs - before, len(seen)) == (2, 4)


def test_swapping_a_controlnet_loads_it_alone(studio: Studio) -> None:
    base = BASE.replace(steps=1)
    for control in (CANNY, CANNY.replace(model="depth"), CANNY, DEPTH):
        studio.image(base.replace(controls=(control,)))
    studio.image(base)
    loaded = [list(one.loaded) for one in studio.manager.history]
    assert loaded[1:] == [["controlnet depth"], [], [], []]
    assert "unet" in loaded[0] and "controlnet canny" in loaded[0]


def test_controlnets_and_preprocessors_are_axes(studio: Studio) -> None:
    found = stats(
        studio, "control_model=canny,depth & control_strength=1,0.5", "control2_stop=0.5,1",
        controls=(CANNY, DEPTH.replace(model="bgr")), steps=2,
    )  # fmt: skip
    assert found.cells == 4 and studio.manager.history[-1].loaded.keys() >= {
        "controlnet canny", "controlnet depth", "controlnet bgr"
    }  # fmt: skip


def test_controlnets_that_do_not_fit_together_take_turns(
    models: Path, controlnets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With room for the model and one ControlNet, a sheet of two still comes out whole."""
    roomy = PipelineManager([models, controlnets], device="cpu")
    with roomy.use("tiny", ["canny"]):
        budget = roomy.cached_bytes
    studio = Studio([models, controlnets], device="cpu", budget=budget)
    studio.add_picture(SHELF.get(ONE))
    assert stats(studio, "control_model=canny,depth", steps=1, controls=(CANNY,)).cells == 2
    assert studio.manager.history[-1].evicted == (f"{controlnets.name}/canny",)
    assert "unet" in studio.manager.history[-1].reused
    studio.close()


def test_finished_cells_are_kept_by_what_steered_them(
    models: Path, controlnets: Path, tmp_path: Path
) -> None:
    """A ControlNet's weights are part of the address; a run comes back with its controls."""
    import shutil

    shutil.copytree(controlnets / "canny", tmp_path / "nets" / "mine")

    def cached() -> list[bool]:
        studio = Studio([models, tmp_path / "nets"], tmp_path / "out", device="cpu")
        image = studio.add_picture(SHELF.get(ONE))
        base = BASE.replace(steps=1, controls=(Control(image=image, model="mine"),))
        sheet = Sheet(base=base, axes=(parse_axis("control_strength=0.5,1"),))
        found = [event.cached for event in studio.run(sheet) if isinstance(event, CellDone)]
        studio.close()
        return found

    assert cached() == [False, False]
    assert cached() == [True, True]
    shutil.rmtree(tmp_path / "nets" / "mine")
    shutil.copytree(controlnets / "depth", tmp_path / "nets" / "mine")
    assert cached() == [False, False], "another ControlNet of the same name"
