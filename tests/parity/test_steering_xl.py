"""SDXL's ControlNets against diffusers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from bench.controls import controlled_call
from bench.peer import Peer
from pipelines import InvalidRequest, Request, Studio
from pipelines.model_manager.manager import PipelineManager
from tests.helpers.tiny import controlnet
from tests.helpers.tiny_families import sdxl
from tests.parity.test_steering import CANNY, DEPTH, SHELF, Made, apart

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL with two ControlNets."""
    folder = tmp_path_factory.mktemp("xl")
    pipe = sdxl()
    pipe.save_pretrained(folder / "sdxl")
    config = pipe.unet.config
    told = {
        key: config[key]
        for key in (
            "cross_attention_dim", "use_linear_projection", "addition_embed_type",
            "addition_time_embed_dim", "transformer_layers_per_block",
            "projection_class_embeddings_input_dim",
        )
    }  # fmt: skip
    for seed, name in enumerate(("canny", "depth")):
        controlnet(seed, **told).save_pretrained(folder / name)
    return folder


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "one": ((CANNY,), {}),
    "two, windows": ((CANNY.replace(stop=0.5), DEPTH.replace(start=0.4)), {}),
    "guess": ((CANNY.replace(mode="control"),), {}),
    "unguided": ((CANNY,), {"guidance_scale": 1.0}),
}


def theirs(manager: PipelineManager, request: Request) -> torch.Tensor:
    names = [str(one.model) for one in request.controls]
    with manager.use("sdxl", names) as model:
        nets = [model.controlnets[name] for name in names]
        pipe = diffusers.StableDiffusionXLControlNetPipeline(
            **model.components,
            controlnet=nets if len(nets) > 1 else nets[0],
            scheduler=diffusers.EulerDiscreteScheduler.from_config(model.configs["scheduler"]),
            add_watermarker=False,
        )
    call = controlled_call(request, SHELF.get)
    return Peer(pipe).make(request, output_type="latent", **call)


@pytest.mark.parametrize("case", CASES)
def test_sdxl_is_steered_as_diffusers_does(folder: Path, case: str) -> None:
    controls, changes = CASES[case]
    manager = PipelineManager([folder], device="cpu")
    request = Request(
        model="sdxl", prompt="an apple", negative_prompt="a pear", steps=5, sampler="euler",
        guidance_scale=4.0, width=32, height=32, controls=controls,
    ).replace(**changes)  # fmt: skip
    (ours,) = Made(manager, [request]).latents
    assert apart(ours, theirs(manager, request)) <= 1e-4
    (without,) = Made(manager, [request.replace(controls=())]).latents
    assert apart(ours, without) > 1e-2


def test_a_mixed_sheet(folder: Path) -> None:
    """Guidance, sampler, steps, strength and the number of ControlNets differ in one batch."""
    manager = PipelineManager([folder], device="cpu")
    base = Request(
        model="sdxl", prompt="an apple", steps=4, sampler="euler", guidance_scale=4.0, width=32,
        height=32, controls=(CANNY, DEPTH),
    )  # fmt: skip
    requests = [
        base,
        base.replace(controls=(CANNY.replace(strength=0.4),), guidance_scale=7.0),
        base.replace(sampler="dpmpp_2m", schedule="karras", steps=5, negative_prompt="a pear"),
        base.replace(sampler="euler_a", steps=3, controls=(DEPTH.replace(start=0.5),)),
        base.replace(guidance_scale=1.0, controls=(DEPTH, CANNY.replace(stop=0.5))),
    ]
    for request, ours in zip(requests, Made(manager, requests).latents, strict=True):
        assert apart(ours, theirs(manager, request)) <= 1e-4


def test_controlnets_of_other_families_are_refused(folder: Path, controlnets: Path) -> None:
    studio = Studio([folder, controlnets], device="cpu")
    image = studio.add_picture(SHELF.get(CANNY.image))
    request = Request(model="sdxl", controls=[CANNY.replace(image=image, model="bgr")])
    with pytest.raises(InvalidRequest, match=r"does not fit 'sdxl': its text width .* is 16"):
        studio.resolve(request)
    studio.close()
