"""LoRAs against diffusers' own loader, alone and in mixed sheets; nothing of them stays behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.peer import Peer
from pipelines import (
    Axis,
    InvalidRequest,
    LoRA,
    ModelUnavailable,
    Request,
    Sheet,
    Studio,
    UnknownName,
    engine,
    rendering,
)  # fmt: skip
from pipelines.axes import parse_axis
from pipelines.computing import Computer, Computing
from pipelines.events import CellDone, CellFailed, RunFinished
from pipelines.grouping import group
from pipelines.lora_files import WEIGHTS
from pipelines.lora_weights import applied
from pipelines.loras import lora_names
from pipelines.manager import PipelineManager
from pipelines.metadata import settings_text
from pipelines.pace import Paces
from tests.lora_makers import load_lora, save_lora
from tests.tiny import sd
from tests.tiny_families import sdxl

pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS: dict[str, Any] = {"tiny": sd, "xl": sdxl}
BASE = Request(
    model="tiny", prompt="an apple", negative_prompt="a pear", steps=5, sampler="euler",
    guidance_scale=4.0, seed=3, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD and a tiny SDXL with two LoRAs each. `…-one` says its alpha, `…-two` does not."""
    folder = tmp_path_factory.mktemp("loras")
    for name, make in MAKERS.items():
        make().save_pretrained(folder / name)
        save_lora(make(), folder / f"{name}-one", seed=1, rank=4, alpha=6)
        save_lora(make(), folder / f"{name}-two", seed=2, rank=2, text=False)
    return folder


@pytest.fixture(scope="module")
def manager(folder: Path) -> PipelineManager:
    return PipelineManager([folder], device="cpu")


def latents(manager: PipelineManager, requests: Sequence[Request]) -> list[torch.Tensor]:
    """Latents of Requests of one model, made as the renderer does it."""
    made: dict[int, torch.Tensor] = {}
    names = list(dict.fromkeys(name for one in requests for name in lora_names(one)))
    with manager.use(requests[0].model, (), names) as plain:
        family = manager.family(plain.id)
        for states in group(requests).values():
            for state, sizes in states.items():
                with applied(plain, family, state) as model:
                    for cells in sizes.values():
                        made |= _denoise(family, model, [(i, requests[i]) for i in cells])
    return [made[i] for i in range(len(requests))]


def _denoise(
    family: Any, model: Any, cells: Sequence[tuple[int, Request]]
) -> dict[int, torch.Tensor]:
    conditions = rendering.encode(family, model, [one for _, one in cells])
    computer = Computer(Computing(batch=16), Paces(None), family, model, (4, 8, 8), 10**10)
    events = engine.denoise(
        [(i, lambda r=r: rendering.start(family, model, r, conditions)) for i, r in cells],
        computer.evaluate,
        batches=computer,
    )
    return {e.cell: e.latents for e in events if isinstance(e, engine.Finished)}


def theirs(folder: Path, request: Request) -> torch.Tensor:
    """diffusers' latents, its LoRAs loaded and scaled by its own means."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder / request.model)
    for one in request.loras:
        load_lora(pipe, folder / one.name / WEIGHTS, one.name, one.scale)
    if request.loras:
        pipe.unet.set_adapters([o.name for o in request.loras], [o.scale for o in request.loras])
    made: torch.Tensor = Peer(pipe).make(request, output_type="latent")
    return made


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def states_of(manager: PipelineManager, model: str) -> dict[str, torch.Tensor]:
    with manager.use(model) as loaded:
        return {
            f"{name}.{key}": value.clone()
            for name, part in loaded.components.items()
            if hasattr(part, "state_dict")
            for key, value in part.state_dict().items()
        }


@pytest.mark.parametrize("name", MAKERS)
def test_a_mixed_sheet_equals_diffusers(folder: Path, manager: PipelineManager, name: str) -> None:
    before = states_of(manager, name)
    one, two = LoRA(name=f"{name}-one"), LoRA(name=f"{name}-two")
    base = BASE.replace(model=name)
    requests = [
        base,
        base.replace(loras=[LoRA(name=one.name, scale=0.7)], guidance_scale=1.0),
        base.replace(loras=[one], sampler="ddim"),
        base.replace(loras=[LoRA(name=one.name, scale=0.0)]),
        base.replace(loras=[LoRA(name=one.name, scale=-0.5), two], steps=4),
        base.replace(loras=[two]),
        base.replace(seed=4),
    ]
    ours = latents(manager, requests)
    for request, made in zip(requests, ours, strict=True):
        assert apart(made, theirs(folder, request)) <= 1e-4, request.loras
    assert torch.equal(ours[0], ours[3]), "scale 0 is no LoRA"
    assert apart(ours[0], ours[5]) > 1e-2, "a LoRA without effect proves nothing"
    after = states_of(manager, name)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before), "bit by bit"
