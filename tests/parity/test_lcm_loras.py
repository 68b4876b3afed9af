"""LCM-LoRAs: the LCM sampler on SD and SDXL with a LoRA, against diffusers' own loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from bench.peer import Peer
from pipelines import LoRA, Request, Studio
from pipelines.checkpoints.loras import WEIGHTS
from pipelines.model_manager.manager import PipelineManager
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd
from tests.helpers.tiny_families import sdxl
from tests.parity.test_loras import apart, latents

pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS: dict[str, Any] = {"tiny": sd, "xl": sdxl}
BASE = Request(
    model="tiny", prompt="an apple", steps=4, sampler="lcm", guidance_scale=1.0, seed=3,
    width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD and a tiny SDXL, each with a LoRA of its UNet alone, as LCM-LoRAs are."""
    folder = tmp_path_factory.mktemp("lcm")
    for name, make in MAKERS.items():
        make().save_pretrained(folder / name)
        save_lora(make(), folder / f"{name}-lcm", seed=5, rank=8, alpha=4, text=False)
    return folder


def theirs(folder: Path, request: Request) -> torch.Tensor:
    """diffusers' latents, the LoRA loaded by `load_lora_weights`."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder / request.model)
    for lora in request.loras:
        pipe.load_lora_weights(folder / lora.name, weight_name=WEIGHTS, adapter_name="lcm")
        pipe.set_adapters(["lcm"], [lora.scale])
    made: torch.Tensor = Peer(pipe).make(request, output_type="latent")
    return made


@pytest.mark.parametrize("model", MAKERS)
def test_a_mixed_sheet_equals_diffusers(folder: Path, model: str) -> None:
    """Steps, guidance, seeds and the LoRA's scale; at scale 1, half of it and without."""
    lora = LoRA(name=f"{model}-lcm")
    base = BASE.replace(model=model, loras=[lora])
    half = LoRA(name=lora.name, scale=0.5)
    requests = [
        base,
        base.replace(steps=8, seed=4),
        base.replace(guidance_scale=1.8, negative_prompt="a pear", steps=2),
        base.replace(loras=[half], guidance_scale=2.0, negative_prompt="a pear"),
        base.replace(loras=[]),
    ]
    made = latents(PipelineManager([folder], device="cpu"), requests)
    for request, ours in zip(requests, made, strict=True):
        assert apart(ours, theirs(folder, request)) <= 1e-4, request
    assert apart(made[0], made[-1]) > 1e-2, "a LoRA without effect proves nothing"


def test_it_fits_its_own_model_alone(folder: Path) -> None:
    studio = Studio(folder, device="cpu")
    assert {m: [one.id for one in studio.loras(m)] for m in MAKERS} == {
        "tiny": ["tiny-lcm"], "xl": ["xl-lcm"]
    }  # fmt: skip
    picture = studio.image(BASE.replace(loras=["tiny-lcm"]))
    assert picture.tobytes() != studio.image(BASE).tobytes()
    studio.close()
