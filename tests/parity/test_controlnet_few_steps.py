"""ControlNets on models of few steps, against diffusers' own pipelines: latent consistency models,
LCM-LoRAs, SDXL Turbo; each with one and with two, alone and in a mixed sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from bench.controls import controlled_call
from bench.peer import Peer
from pipelines import LoRA, Request
from pipelines.checkpoints.loras import WEIGHTS
from pipelines.model_manager.manager import PipelineManager
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import controlnet, sd
from tests.helpers.tiny_families import XL, lcm, sdxl
from tests.parity.test_controlnet import CANNY, DEPTH, SHELF, Made, apart

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS: dict[str, Any] = {
    "lcm": lcm,
    "lcm-sd": lambda: lcm("StableDiffusionPipeline"),
    "xl-lcm": lambda: sdxl(told=True),
    "sd": sd,
    "xl": sdxl,
}
XL_ONES = (CANNY.replace(model="xl-canny"), DEPTH.replace(model="xl-depth"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    for name, make in MODELS.items():
        make().save_pretrained(folder / name)
    for seed, name in enumerate(("canny", "depth")):
        controlnet(seed).save_pretrained(folder / name)
        controlnet(seed, **XL).save_pretrained(folder / f"xl-{name}")
    for name in ("sd", "xl"):
        save_lora(MODELS[name](), folder / f"{name}-lora", seed=5, rank=8, alpha=4, text=False)
    return folder


def asked(model: str, **changes: Any) -> list[Request]:
    """One ControlNet and two; guidance, steps, strength, window and seed differ."""
    one, other = XL_ONES if model.startswith("xl") else (CANNY, DEPTH)
    base = Request(as_diffusers=True,
        model=model, prompt="an apple", steps=4, sampler="lcm", guidance_scale=1.0, seed=11,
        width=32, height=32,
    ).replace(**changes)  # fmt: skip
    return [
        base.replace(controls=(one,)),
        base.replace(controls=(one, other), steps=max(1, base.steps - 1)),
        base.replace(controls=(other.replace(strength=1.4),), guidance_scale=3.0, seed=4),
        base.replace(controls=(one.replace(stop=0.5), other), guidance_scale=1.8, steps=2),
        base.replace(guidance_scale=2.5),
    ]


SHEETS = {
    "lcm": asked("lcm"),
    "lcm-sd": asked("lcm-sd"),
    "xl-lcm": asked("xl-lcm"),
    "sd with LoRA": asked("sd", loras=[LoRA(name="sd-lora")], negative_prompt="a pear"),
    "xl with LoRA": asked("xl", loras=[LoRA(name="xl-lora", scale=0.7)]),
    # As Turbo is called, beside cells of more steps that are guided.
    "turbo": asked("xl", sampler="euler_a", steps=1),
}


def theirs(folder: Path, request: Request) -> torch.Tensor:
    """What diffusers' ControlNet pipeline makes of a Request; without controls its plain one."""
    model = diffusers.DiffusionPipeline.from_pretrained(folder / request.model)
    xl = request.model.startswith("xl")
    pipe: Any = model
    call: dict[str, Any] = {}
    parts = dict(model.components)
    if request.controls:
        nets = [
            diffusers.ControlNetModel.from_pretrained(folder / str(one.model))
            for one in request.controls
        ]
        net = nets if len(nets) > 1 else nets[0]
        if xl:
            pipe = diffusers.StableDiffusionXLControlNetPipeline(
                **parts, controlnet=net, add_watermarker=False
            )
        else:
            pipe = diffusers.StableDiffusionControlNetPipeline(
                **parts, controlnet=net, requires_safety_checker=False
            )
        call = controlled_call(request, SHELF.get)
    elif not xl:
        pipe = diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False)
    for lora in request.loras:
        pipe.load_lora_weights(folder / lora.name, weight_name=WEIGHTS, adapter_name="one")
        pipe.set_adapters(["one"], [lora.scale])
    made: torch.Tensor = Peer(pipe).make(request, output_type="latent", **call)
    return made


@pytest.mark.parametrize("case", SHEETS)
def test_a_mixed_sheet_and_its_cells_alone_equal_diffusers(folder: Path, case: str) -> None:
    manager = PipelineManager([folder], device="cpu")
    requests = SHEETS[case]
    made = Made(manager, requests)
    wanted = [theirs(folder, request) for request in requests]
    for request, target, ours in zip(requests, wanted, made.latents, strict=True):
        assert apart(ours, target) <= 1e-4, request
    for number in (0, 1):  # one ControlNet, two
        (alone,) = Made(manager, [requests[number]]).latents
        assert apart(alone, wanted[number]) <= 1e-4
        (without,) = Made(manager, [requests[number].replace(controls=())]).latents
        assert apart(alone, without) > 1e-3, "the controls do nothing"


def test_turbo_is_steered_at_guidance_0_as_at_1(folder: Path) -> None:
    """diffusers takes both as off; ours at 0 is the negative prompt alone."""
    for request in SHEETS["turbo"][:2]:
        (ours,) = Made(PipelineManager([folder], device="cpu"), [request]).latents
        assert apart(ours, theirs(folder, request.replace(guidance_scale=0.0))) <= 1e-4
