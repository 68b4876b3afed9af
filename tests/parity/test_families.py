"""Every family against its own diffusers pipeline: alone, and in sheets of mixed cells."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import app
from pipelines import InvalidRequest, ModelUnavailable, Request, Sheet, Studio
from pipelines.denoising import engine
from pipelines.denoising.guiders.base import row_count
from pipelines.families.flux import pack, unpack
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.rendering.trajectories import guidance_for
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone
from pipelines.runs.png_metadata import read_settings, write_png
from pipelines.samplers import SAMPLERS, SCHEDULES
from tests.helpers.evaluation import evaluate
from tests.helpers.evaluator import FunctionEvaluator
from tests.helpers.tiny import sd
from tests.helpers.tiny_families import MAKERS, save_all

TOLERANCE = 1e-4
TEXT = {"prompt": "an apple", "seed": 3, "width": 32, "height": 32}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_all(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def studio(zoo: Path) -> Iterator[Studio]:
    studio = Studio(zoo, device="cpu")
    yield studio
    studio.close()


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """All of these models are tiny."""


@lru_cache(maxsize=16)
def pipe_of(folder: Path) -> Any:
    index = json.loads((folder / "model_index.json").read_text())
    absent = {name: None for name, entry in index.items() if entry == [None, None]}
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, **absent)
    pipe.set_progress_bar_config(disable=True)
    return pipe, pipe.scheduler.config


def theirs(folder: Path, request: Request) -> torch.Tensor:
    """diffusers' latents of a complete Request, (1, C, h, w).

    A guidance scale of 0 is the negative prompt alone; diffusers takes that as a prompt.
    """
    pipe, config = pipe_of(folder)
    row = SAMPLERS[request.sampler]
    pipe.scheduler = getattr(diffusers, row.scheduler).from_config(
        config, **row.options, **SCHEDULES[request.schedule]
    )
    kind = type(pipe).__name__
    call: dict[str, Any] = {
        "prompt": request.prompt,
        "num_inference_steps": request.steps,
        "generator": torch.Generator("cpu").manual_seed(request.seed),
        "width": request.width,
        "height": request.height,
        "output_type": "latent",
    }
    if kind == "FluxPipeline":
        told = request.distilled_guidance
        call |= {"guidance_scale": 3.5 if told is None else told}
        call |= {"true_cfg_scale": request.guidance_scale}
    else:
        call |= {"guidance_scale": request.guidance_scale}
    if kind != "LatentConsistencyModelPipeline":
        call |= {"negative_prompt": request.negative_prompt or None}
    if request.skip_layers:
        call |= {
            "skip_guidance_layers": list(request.skip_layers),
            "skip_layer_guidance_scale": request.skip_layer_scale,
            "skip_layer_guidance_start": request.skip_layer_start,
            "skip_layer_guidance_stop": request.skip_layer_stop,
        }
    if kind == "StableDiffusionXLPipeline":
        call |= {"guidance_rescale": request.guidance_rescale}
    latents = pipe(**call).images
    if kind == "FluxPipeline":
        return unpack(latents, request.height // 4, request.width // 4)
    return latents


def ours(zoo: Path, requests: list[Request], batch: int = 16) -> list[torch.Tensor]:
    """Our latents of Requests for one model at one size, denoised together."""
    manager = PipelineManager([zoo], device="cpu")
    with manager.use(requests[0].model) as model:
        family = manager.library.open(model.id).family
        conditions = trajectories.encode_prompts(family, model, requests)
        events = engine.denoise(
            [
                (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
                for i, r in enumerate(requests)
            ],
            FunctionEvaluator(lambda rows: evaluate(family, model, rows), batch),
        )
        latents: dict[int, torch.Tensor] = {}
        for event in events:
            assert not isinstance(event, engine.Failed), event
            if isinstance(event, engine.Finished):
                latents[event.cell] = event.latents
    return [latents[i] for i in range(len(requests))]


def mixed(model: str, *cells: dict[str, Any]) -> list[Request]:
    """Requests of diffusers' own numbers, which is what they are compared with."""
    return [Request(model=model, as_diffusers=True, **{**TEXT, **cell}) for cell in cells]


XL_CELLS = (
    {"sampler": "euler", "steps": 4, "guidance_scale": 5.0},
    {"sampler": "euler", "steps": 3, "guidance_scale": 7.5, "negative_prompt": "a pear"},
    {"sampler": "dpmpp_2m", "schedule": "karras", "steps": 5, "guidance_scale": 5.0},
    {"sampler": "euler_a", "steps": 3, "guidance_scale": 3.0, "guidance_rescale": 0.7},
    {"sampler": "heun", "steps": 3, "guidance_scale": 1.0, "prompt": ""},
    {"sampler": "ddim", "steps": 4, "guidance_scale": 4.0, "prompt": "", "seed": 5},
    # As Turbo is called.
    {"sampler": "euler_a", "steps": 1, "guidance_scale": 1.0},
)
TOLD_CELLS = (
    {"sampler": "lcm", "steps": 4, "guidance_scale": 8.0},
    {"sampler": "lcm", "steps": 4, "guidance_scale": 1.0},
    {"sampler": "lcm", "steps": 2, "guidance_scale": 3.5, "prompt": "two pears", "seed": 4},
    {"sampler": "lcm", "steps": 1, "guidance_scale": 0.0},
)
FLOW_CELLS = (
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 7.0},
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 4.5, "negative_prompt": "a pear"},
    {"sampler": "flow_euler", "schedule": "beta", "steps": 6, "guidance_scale": 3.0},
    {"sampler": "flow_euler", "schedule": "karras", "steps": 3, "guidance_scale": 1.0},
)
HEUN_CELLS = (
    {"sampler": "flow_heun", "steps": 4, "guidance_scale": 5.0},
    {"sampler": "flow_heun", "steps": 3, "guidance_scale": 1.0, "prompt": ""},
)
SKIP_CELLS = (
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 7.0, "skip_layers": "0",
     "skip_layer_stop": 0.9},
    {"sampler": "flow_euler", "steps": 6, "guidance_scale": 4.5, "skip_layers": "1",
     "skip_layer_scale": 1.3, "skip_layer_start": 0.0, "skip_layer_stop": 0.5},
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 3.0, "skip_layers": "0+1",
     "skip_layer_stop": 1.0, "negative_prompt": "a pear"},
    {"sampler": "flow_heun", "steps": 4, "guidance_scale": 5.0, "skip_layers": "0",
     "skip_layer_start": 0.25, "skip_layer_stop": 0.75},
    {"sampler": "flow_euler", "steps": 5, "guidance_scale": 1.0, "skip_layers": "0",
     "skip_layer_stop": 1.0},
)  # fmt: skip
FLUX_CELLS = (
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 1.0},
    {"sampler": "flow_euler", "steps": 3, "guidance_scale": 4.0, "negative_prompt": "a pear"},
    {"sampler": "flow_euler", "steps": 5, "guidance_scale": 4.0, "prompt": "two pears"},
    {"sampler": "flow_euler", "schedule": "beta", "steps": 4, "guidance_scale": 1.0, "seed": 9},
)
DISTILLED = tuple(
    {"sampler": "flow_euler", "steps": 4, "guidance_scale": 1.0, "distilled_guidance": told}
    for told in (0.0, 1.0, 7.0)
)
SHEETS = {
    "sdxl": XL_CELLS,
    "sdxl-v": XL_CELLS,
    "sdxl-lcm": (*TOLD_CELLS, {"sampler": "euler", "steps": 3, "guidance_scale": 2.0}),
    "lcm": TOLD_CELLS,
    "lcm-sd": (*TOLD_CELLS, {"sampler": "ddim", "steps": 5, "guidance_scale": 6.0}),
    "sd3": FLOW_CELLS + HEUN_CELLS + SKIP_CELLS,
    "sd3-no-t5": FLOW_CELLS + HEUN_CELLS + SKIP_CELLS[:2],
    "sd3-dynamic": FLOW_CELLS,
    "flux-dev": FLUX_CELLS + DISTILLED,
    "flux-schnell": FLUX_CELLS,
}


@pytest.mark.parametrize("model", SHEETS)
def test_a_mixed_sheet_and_its_cells_alone_equal_diffusers(zoo: Path, model: str) -> None:
    requests = mixed(model, *SHEETS[model])
    wanted = [theirs(zoo / model, request) for request in requests]
    pairs = list(zip(requests, ours(zoo, requests), wanted, strict=True))
    pairs += [(one, ours(zoo, [one])[0], target) for one, _, target in pairs[::3]]
    for request, made, target in pairs:
        assert made.shape == target.shape
        apart = float((made - target).abs().max())
        assert apart <= TOLERANCE, f"{request}: latents {apart:.1e} apart"
    # Were all cells alike, nothing above would be compared.
    apart = [float((wanted[0] - other).abs().max()) for other in wanted[1:]]
    assert min(apart) > 10 * TOLERANCE, f"cells of {model} are only {min(apart):.1e} apart"


@pytest.mark.parametrize("model", ["sdxl", "sd3-dynamic", "flux-dev"])
def test_a_picture_that_is_not_square(zoo: Path, model: str) -> None:
    """Its size decides the time ids of SDXL, the places of FLUX' tokens and dynamic shifts."""
    sampler = "euler" if model == "sdxl" else "flow_euler"
    cells = {"sampler": sampler, "steps": 3, "negative_prompt": "a pear", "guidance_scale": 3.0}
    requests = mixed(model, {**cells, "width": 64, "height": 40})
    (made,) = ours(zoo, requests)
    assert float((made - theirs(zoo / model, requests[0])).abs().max()) <= TOLERANCE


def test_turbo_takes_its_guidance_off(zoo: Path) -> None:
    """What SDXL Turbo is called with: diffusers turns guidance off at 0 and at 1."""
    (request,) = mixed("sdxl", {"sampler": "euler_a", "steps": 1, "guidance_scale": 1.0})
    (made,) = ours(zoo, [request])
    for scale in (0.0, 1.0):
        target = theirs(zoo / "sdxl", request.replace(guidance_scale=scale))
        assert float((made - target).abs().max()) <= TOLERANCE


def test_guidance_0_of_sdxl_is_no_prompt_at_all(zoo: Path) -> None:
    """Zeros where the checkpoint wants them; the negative prompt where there is one."""
    cells = {"sampler": "euler", "steps": 2, "guidance_scale": 0.0}
    plain, negative = mixed("sdxl", cells, {**cells, "negative_prompt": "a pear"})
    nothing, pear = ours(zoo, [plain, negative])
    pipe, config = pipe_of(zoo / "sdxl")
    states, _, pooled, _ = pipe.encode_prompt("an apple", do_classifier_free_guidance=False)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(config)
    target = pipe(
        prompt_embeds=torch.zeros_like(states),
        pooled_prompt_embeds=torch.zeros_like(pooled),
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(plain.seed),
        width=32,
        height=32,
        output_type="latent",
    ).images
    assert float((nothing - target).abs().max()) <= TOLERANCE
    as_prompt = theirs(zoo / "sdxl", plain.replace(prompt="a pear", guidance_scale=1.0))
    assert float((pear - as_prompt).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("model", ["sdxl", "lcm", "sd3-no-t5", "flux-dev"])
def test_pictures_and_their_settings(studio: Studio, zoo: Path, tmp_path: Path, model: str) -> None:
    """Through the studio: found, loaded, decoded; the settings come back from the file."""
    request = studio.resolve(mixed(model, SHEETS[model][0])[0])
    picture = studio.image(request)
    pipe, _ = pipe_of(zoo / model)
    latents = theirs(zoo / model, request)
    shift = getattr(pipe.vae.config, "shift_factor", None) or 0.0
    with torch.inference_mode():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor + shift)[0]
    target = pipe.image_processor.postprocess(decoded, output_type="pil")[0]
    apart = np.abs(np.asarray(picture, np.int16) - np.asarray(target, np.int16)).max()
    assert apart <= 2, f"pixels {apart}/255 apart"
    write_png(tmp_path / "one.png", picture, request)
    assert Request(**read_settings(tmp_path / "one.png")) == request


@pytest.mark.parametrize("model", ["sdxl-lcm", "flux-dev"])
def test_openvino_computes_the_same(zoo: Path, model: str) -> None:
    """Networks with more inputs than one condition are traced and computed in batches too."""
    pytest.importorskip("openvino")
    requests = mixed(model, *SHEETS[model][:3])
    manager = PipelineManager([zoo], device="cpu")
    with manager.use(model) as loaded:
        family = manager.library.open(model).family
        how = ComputeOptions("openvino", 4)
        shape = family.latent_shape(loaded, 32, 32)
        computer = BatchEvaluator(
            how, BatchTimings(None), family, loaded, latent=shape, memory=2**33
        )
        conditions = trajectories.encode_prompts(family, loaded, requests)
        cells = [
            (i, lambda r=r: trajectories.guided_trajectory(family, loaded, r, conditions))
            for i, r in enumerate(requests)
        ]
        events = engine.denoise(cells, computer)
        made = {e.cell: e.latents for e in events if isinstance(e, engine.Finished)}
    for i, request in enumerate(requests):
        assert float((made[i] - theirs(zoo / model, request)).abs().max()) <= TOLERANCE


def test_distilled_guidance_is_an_axis(studio: Studio) -> None:
    base = Request(model="flux-dev", sampler="flow_euler", steps=2, guidance_scale=1.0, **TEXT)
    sheet = Sheet(base=base, axes=(parse_axis("distilled_guidance=1, 3.5, 7"),))
    pictures = [e.image for e in studio.run(sheet) if isinstance(e, CellDone)]
    assert len({picture.tobytes() for picture in pictures}) == 3
    # The model's own is 3.5; what does not say so is stored where it always was.
    assert "distilled" not in base.to_json() and "distilled" in sheet.expand()[0].to_json()


def test_guidance_of_a_told_network_costs_one_row(studio: Studio, zoo: Path) -> None:
    supports = studio.supports("lcm")
    (request,) = mixed("lcm", TOLD_CELLS[0])
    assert row_count(guidance_for(request, supports), 4) == 4
    assert studio.plan(Sheet(base=request)).cost.rows == 4
    manager = PipelineManager([zoo], device="cpu")
    with manager.use("lcm") as model:
        family = manager.library.open("lcm").family
        requests = mixed("lcm", TOLD_CELLS[0], {**TOLD_CELLS[0], "guidance_scale": 3.0})
        conditions = trajectories.encode_prompts(family, model, requests)
        cells = [
            (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
            for i, r in enumerate(requests)
        ]
        evaluator = FunctionEvaluator(lambda rows: evaluate(family, model, rows), 8)
        list(engine.denoise(cells, evaluator))
    tally = evaluator.tally
    # Told different scales, equal latents are different rows, in the same batches.
    assert (tally.rows_computed, tally.batches) == (8, 4)


def test_true_guidance_of_flux_costs_rows_only_with_a_negative_prompt(studio: Studio) -> None:
    supports = studio.supports("flux-dev")
    plain, negative = mixed("flux-dev", FLUX_CELLS[2], FLUX_CELLS[1])
    assert row_count(guidance_for(plain, supports), 5) == 5
    assert row_count(guidance_for(negative, supports), 3) == 6


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("sd3", {"sampler": "dpmpp_2m"}, "a flow model; it takes flow_euler, flow_heun$"),
        ("sd3-dynamic", {"sampler": "flow_heun"}, "it takes flow_euler$"),
        ("flux-dev", {"sampler": "euler"}, "a flow model; it takes flow_euler$"),
        ("sdxl", {"sampler": "flow_euler"}, "a diffusion model; it takes ddpm, ddim, pndm"),
        ("sdxl-v", {"sampler": "pndm"}, "a v-prediction model; it takes ddpm, ddim, lms"),
        ("lcm", {"sampler": "ddim"}, "a latent consistency model; it takes lcm$"),
        ("lcm", {"sampler": "lcm", "steps": 51}, "takes 1 to 50"),
        ("lcm", {"sampler": "lcm", "negative_prompt": "x"}, "takes no negative prompt"),
        ("lcm", {"sampler": "lcm", "guidance_rescale": 0.5}, "it must be 0"),
        ("flux-schnell", {"sampler": "flow_euler", "distilled_guidance": 2.0}, "takes none"),
        ("sdxl", {"sampler": "euler", "distilled_guidance": 2.0}, "takes none"),
        ("sdxl", {"sampler": "euler", "skip_layers": "7+8"}, "is 7.8; 'sdxl' skips none; leave"),
        ("sd3", {"sampler": "flow_euler", "skip_layers": "0+2"}, "'sd3' has layers 0 to 1; name"),
        ("sd3", {"sampler": "flow_euler", "width": 36}, "multiples of 8 from 8 to 128"),
        ("flux-dev", {"sampler": "flow_euler", "width": 36}, "multiples of 8 from 8 to 1024"),
    ],
)
def test_what_a_model_cannot_do_is_refused(
    studio: Studio, model: str, changes: dict[str, Any], message: str
) -> None:
    base = {"steps": 4, "guidance_scale": 2.0}
    with pytest.raises(InvalidRequest, match=message):
        studio.resolve(Request(model=model, **{**TEXT, **base, **changes}))


@pytest.mark.parametrize(
    ("model", "sampler", "takes"),
    [
        ("sd3", "dpmpp_2m", "a flow model; it takes flow_euler, flow_heun"),
        ("flux-schnell", "Euler a", "a flow model; it takes flow_euler"),
        ("sdxl", "flow_heun", "a diffusion model; it takes ddpm, ddim, pndm, lms, euler, euler_a"),
    ],
)
def test_the_command_line_names_the_samplers_that_fit(
    zoo: Path, tmp_path: Path, model: str, sampler: str, takes: str
) -> None:
    flags = ["--models", str(zoo), "--model", model, "--device", "cpu"]
    out = tmp_path / "new"
    for command in (
        ["generate", "x", *flags, "--sampler", sampler, "--out", str(out / "a.png")],
        ["sheet", "x", *flags, "--axis", f"sampler={sampler}", "--out", str(out)],
    ):
        result = CliRunner().invoke(app.app, command)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
        assert f"does not fit {model!r}, {takes}" in result.stderr
        assert not out.exists()


def test_what_is_suggested_can_be_made(studio: Studio) -> None:
    for info in studio.models():
        supports = studio.supports(info.id)
        assert info.problem is None
        studio.resolve(Request(model=info.id, prompt="x", **supports.suggested))
        assert supports.samplers and supports.distilled_guidance in (None, 3.5)
        assert (supports.distilled_guidance is not None) == (info.id == "flux-dev")


def test_noise_levels_of_shifted_schedules_fall(studio: Studio) -> None:
    for model in ("sd3", "sd3-dynamic", "flux-dev"):
        (request,) = mixed(model, {"sampler": "flow_euler", "steps": 6})
        levels = studio.noise_levels(studio.resolve(request))
        assert len(levels) == 6 and list(levels) == sorted(levels, reverse=True)


def test_denoised_of_the_last_step_is_the_picture(zoo: Path) -> None:
    """Previews: at the last step of Flow Euler, x − σ·v is where the step arrives."""
    for name in ("sd3", "flux-dev"):
        manager = PipelineManager([zoo], device="cpu")
        (request,) = mixed(name, FLOW_CELLS[3])
        with manager.use(name) as model:
            family = manager.library.open(name).family
            walk = trajectories.guided_trajectory(
                family, model, request, trajectories.encode_prompts(family, model, [request])
            )
            rows = walk.start()
            with torch.inference_mode():
                while rows:
                    rows = walk.advance([evaluate(family, model, rows)])
                asked, output = walk.last
                shown = family.denoised(model, asked.x, asked.t, output)
            assert float((shown - walk.result).abs().max()) <= 1e-5


def test_half_precision_latents_are_decoded_by_a_float32_vae(zoo: Path) -> None:
    """What is kept on a GPU, where SDXL's VAE overflows float16 (`memory.numbers`); on the CPU."""
    manager = PipelineManager([zoo], device="cpu")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).half()
    with manager.use("sdxl") as model:
        family, half = manager.library.open("sdxl").family, replace(model, dtype=torch.float16)
        vae = copy.deepcopy(model.components["vae"]).half()
        overflowing = replace(half, components={**model.components, "vae": vae})
        pixels = family.decode(half, latents)
        assert torch.equal(pixels, family.decode(model, latents.float()))
        assert not torch.equal(pixels, family.decode(overflowing, latents))
        assert model.components["vae"].dtype == torch.float32 and vae.dtype == torch.float16


def test_packing_turns_back() -> None:
    x = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).view(2, 3, 4, 6)
    assert torch.equal(unpack(pack(x), 4, 6), x)
    assert torch.equal(pack(x), diffusers.FluxPipeline._pack_latents(x, 2, 3, 4, 6))


def test_sdxl_with_zeros_for_no_text_is_another_model(zoo: Path, tmp_path: Path) -> None:
    """The index decides pixels, so it is part of the fingerprint."""
    shutil.copytree(zoo / "sdxl", tmp_path / "sdxl")
    index = tmp_path / "sdxl" / "model_index.json"
    text = json.loads(index.read_text())
    index.write_text(json.dumps({**text, "force_zeros_for_empty_prompt": False}))
    one, other = (PipelineManager([f], device="cpu").fingerprint("sdxl") for f in (zoo, tmp_path))
    assert one != other


def test_only_optional_parts_may_be_left_out(zoo: Path, tmp_path: Path) -> None:
    shutil.copytree(zoo / "sd3-no-t5", tmp_path / "sd3")
    index = tmp_path / "sd3" / "model_index.json"
    text = json.loads(index.read_text())
    index.write_text(json.dumps({**text, "text_encoder_2": [None, None]}))
    manager = PipelineManager([tmp_path], device="cpu")
    with pytest.raises(ModelUnavailable, match="no 'text_encoder_2'"), manager.use("sd3"):
        pass


@pytest.mark.parametrize("model", ["sd", "sdxl", "sd3", "flux-dev"])
def test_a_vae_of_another_family_is_read_as_diffusers_reads_it(tmp_path: Path, model: str) -> None:
    """A VAE's config may hold entries that only other families' pipelines go by."""
    pipe = sd() if model == "sd" else MAKERS[model]()
    channels = pipe.vae.config.latent_channels
    pipe.vae.register_to_config(
        shift_factor=0.7, latents_mean=[0.5] * channels, latents_std=[2.0] * channels
    )
    pipe.save_pretrained(tmp_path / model, safe_serialization=True)
    sampler = "flow_euler" if model in ("sd3", "flux-dev") else "euler"
    request = Request(
        model=model, sampler=sampler, steps=2, guidance_scale=1.0, as_diffusers=True, **TEXT
    )
    studio = Studio(tmp_path, device="cpu")
    picture = studio.image(request)
    studio.close()
    pipe, config = pipe_of(tmp_path / model)
    pipe.scheduler = getattr(diffusers, SAMPLERS[sampler].scheduler).from_config(config)
    target = pipe(
        TEXT["prompt"],
        num_inference_steps=2,
        guidance_scale=3.5 if model == "flux-dev" else 1.0,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        width=32,
        height=32,
    ).images[0]
    apart = np.abs(np.asarray(picture, np.int16) - np.asarray(target, np.int16)).max()
    assert apart <= 2, f"pixels {apart}/255 apart"
