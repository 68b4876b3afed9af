"""Ours against diffusers' own pipeline: same weights, same noise, same picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, StableDiffusion3Pipeline, StableDiffusionPipeline
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.peer import Peer
from pipelines import Request, Studio
from pipelines.denoising import engine
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.samplers import SAMPLERS
from presets import model_preset
from tests.helpers.evaluation import evaluate
from tests.helpers.evaluator import FunctionEvaluator

SHIPPED = Path(__file__).parents[2] / "models"
PAIRS = [
    (row.id, schedule)
    for row in SAMPLERS.values()
    if row.kind == "diffusion"
    for schedule in row.schedules
]
BASE = Request(
    model="tiny",
    prompt="an apple",
    negative_prompt="a pear",
    steps=6,
    guidance_scale=4.5,
    seed=11,
    as_diffusers=True,
)


@lru_cache(maxsize=4)
def peer_of(folder: Path) -> Peer:
    return Peer.load(folder)


def diffusers_latents(models: Path, request: Request) -> Any:
    """diffusers takes no guidance below 1: 0 is the negative prompt alone."""
    if request.guidance_scale == 0:
        request = request.replace(prompt=request.negative_prompt, guidance_scale=1.0)
    return peer_of(models / request.model).make(request, output_type="latent")


def together(models: Path, requests: list[Request]) -> list[torch.Tensor]:
    """Our latents of every request, all denoised in one engine loop."""
    manager = PipelineManager([models], device="cpu")
    with manager.use(requests[0].model) as model:
        family = manager.library.open(model.id).family
        texts = sorted({t for r in requests for t in (r.prompt, r.negative_prompt)})
        conditions = dict(zip(texts, family.encode(model, texts), strict=True))
        cells = [
            (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
            for i, r in enumerate(requests)
        ]
        latents: dict[int, torch.Tensor] = {}
        for event in engine.denoise(
            cells, FunctionEvaluator(lambda rows: evaluate(family, model, rows), 16)
        ):
            assert not isinstance(event, engine.Failed), event
            if isinstance(event, engine.Finished):
                latents[event.cell] = event.latents
    return [latents[i] for i in range(len(requests))]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["tiny", "tinyv"])
def test_every_sampler_and_schedule_in_one_sheet(models: Path, name: str) -> None:
    requests = [
        BASE.replace(model=name, sampler=sampler, schedule=schedule, width=32, height=32)
        for sampler, schedule in PAIRS
        if name == "tiny" or SAMPLERS[sampler].v_prediction
    ]
    assert len(requests) > 50, "the registry lost rows"
    for request, ours in zip(requests, together(models, requests), strict=True):
        theirs = peer_of(models / name).make(request, output_type="latent")
        apart = float((ours - theirs).abs().max())
        assert apart <= 1e-4, f"{request.sampler} {request.schedule}: latents {apart:.1e} apart"


CELLS = st.builds(
    lambda pair, **fields: BASE.replace(
        sampler=pair[0], schedule=pair[1], width=32, height=32, **fields
    ),
    st.sampled_from(PAIRS),
    prompt=st.sampled_from(["", "an apple", "two pears on a plate"]),
    negative_prompt=st.sampled_from(["", "a pear"]),
    guidance_scale=st.sampled_from([0.0, 1.0, 2.5, 4.5, 8.0]),
    guidance_rescale=st.sampled_from([0.0, 0.5]),
    steps=st.integers(1, 6),
    seed=st.integers(0, 3),
)


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(["tiny", "tinyv"]), cells=st.lists(CELLS, min_size=2, max_size=6))
def test_a_random_sheet_is_its_cells(models: Path, name: str, cells: list[Request]) -> None:
    usable = [c for c in cells if name == "tiny" or SAMPLERS[c.sampler].v_prediction]
    assume(usable)
    requests = [cell.replace(model=name) for cell in usable]
    for request, ours in zip(requests, together(models, requests), strict=True):
        apart = float((ours - diffusers_latents(models, request)).abs().max())
        assert apart <= 1e-4, f"{request}: latents {apart:.1e} apart"
    backwards = together(models, requests[::-1])[::-1]
    for ours, again in zip(together(models, requests), backwards, strict=True):
        assert float((ours - again).abs().max()) <= 1e-4


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 1.0},
        {"guidance_scale": 12.0, "guidance_rescale": 0.7},
        {"negative_prompt": ""},
        {"prompt": ""},
        {"width": 48, "height": 24},
        {"seed": 2**32 - 1},
        {"steps": 1},
    ],
    ids=str,
)
def test_every_setting(models: Path, change: dict[str, Any]) -> None:
    request = BASE.replace(**{"sampler": "euler_a", "width": 32, "height": 32, **change})
    (ours,) = together(models, [request])
    theirs = peer_of(models / "tiny").make(request, output_type="latent")
    apart = float((ours - theirs).abs().max())
    assert apart <= 1e-4, f"latents {apart:.1e} apart"


@pytest.fixture(scope="module")
def shipped() -> Iterator[Studio]:
    studio = Studio(SHIPPED, device="cpu")
    yield studio
    studio.close()


@pytest.mark.parametrize(
    ("sampler", "schedule"), [p for p in PAIRS if p[1] in ("default", "karras")]
)
def test_the_shipped_model(shipped: Studio, sampler: str, schedule: str) -> None:
    settings = {**model_preset("emoji").defaults(), "sampler": sampler, "schedule": schedule}
    request = shipped.resolve(
        Request(model="emoji", prompt="a red apple", seed=5, **{**settings, "steps": 8})
    )
    (picture,) = peer_of(SHIPPED / "emoji").make(request)
    assert isinstance(picture, Image.Image)
    apart = pixels_apart(shipped.image(request), picture)
    assert apart <= 2, f"pixels {apart}/255 apart"


def test_the_shipped_lora_in_four_steps(shipped: Studio) -> None:
    ours = shipped.image(
        Request(
            model="emoji", prompt="a cat face", sampler="lcm", steps=4, guidance_scale=1, seed=5,
            width=128, height=128, loras=("emoji-lcm",),
        )
    )  # fmt: skip
    pipe = StableDiffusionPipeline.from_pretrained(SHIPPED / "emoji", use_safetensors=True)
    pipe.load_lora_weights(SHIPPED / "emoji-lcm")
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    theirs = pipe(
        "a cat face", num_inference_steps=4, guidance_scale=1.0,
        generator=torch.Generator("cpu").manual_seed(5),
    ).images[0]  # fmt: skip
    assert pixels_apart(ours, theirs) <= 2


def test_the_shipped_flow_model_in_eight_steps(shipped: Studio) -> None:
    settings = model_preset("emoji-flow").defaults()
    request = Request(model="emoji-flow", prompt="a house", as_diffusers=True, **settings)
    ours = shipped.image(shipped.resolve(request))
    pipe = StableDiffusion3Pipeline.from_pretrained(SHIPPED / "emoji-flow", use_safetensors=True)
    theirs = pipe(
        "a house", num_inference_steps=8, guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(0),
    ).images[0]  # fmt: skip
    assert pixels_apart(ours, theirs) <= 2


def pixels_apart(ours: Image.Image, theirs: Image.Image) -> int:
    """The largest difference of any channel, in 255ths."""
    return int(np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16)).max())
