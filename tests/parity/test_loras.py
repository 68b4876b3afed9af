"""LoRAs against diffusers' own loader, alone and in mixed sheets; nothing of them stays behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.peer import Peer
from pipelines import LoRA, Request, Sheet, Studio
from pipelines.checkpoints.loras import WEIGHTS
from pipelines.denoising import engine  # fmt: skip
from pipelines.families.flux import unpack
from pipelines.model_manager.lora_patcher import applied
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.cell_groups import group
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone, CellFailed, RunFinished
from tests.helpers.lora_makers import MAKERS, load_lora, save_lora, save_with_loras
from tests.helpers.tiny import sd
from tests.helpers.tiny_families import flux, sd3

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(as_diffusers=True,
    model="tiny", prompt="an apple", negative_prompt="a pear", steps=5, sampler="euler",
    guidance_scale=4.0, seed=3, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_loras(tmp_path_factory.mktemp("loras"))


@pytest.fixture(scope="module")
def manager(folder: Path) -> PipelineManager:
    return PipelineManager([folder], device="cpu")


def latents(
    manager: PipelineManager, requests: Sequence[Request], how: ComputeOptions | None = None
) -> list[torch.Tensor]:
    """Latents of Requests of one model, made as the renderer does it."""
    made: dict[int, torch.Tensor] = {}
    names = list(dict.fromkeys(name for one in requests for name in one.lora_names))
    with manager.use(requests[0].model, (), names) as plain:
        family = manager.library.open(plain.id).family
        for states in group(requests).values():
            for state, sizes in states.items():
                with applied(plain, family, state) as model:
                    for cells in sizes.values():
                        made |= _denoise(
                            family,
                            model,
                            [(i, requests[i]) for i in cells],
                            how or ComputeOptions(batch=16),
                        )
    return [made[i] for i in range(len(requests))]


def _denoise(
    family: Any, model: Any, cells: Sequence[tuple[int, Request]], how: ComputeOptions
) -> dict[int, torch.Tensor]:
    conditions = trajectories.encode_prompts(family, model, [one for _, one in cells])
    computer = BatchEvaluator(
        how, BatchTimings(None), family, model, latent=(4, 8, 8), memory=10**10
    )
    events = engine.denoise(
        [
            (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
            for i, r in cells
        ],
        computer,
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


def test_the_base_is_put_back_after_a_failure(manager: PipelineManager) -> None:
    before = states_of(manager, "tiny")
    with (
        manager.use("tiny", (), ["tiny-one"]) as model,
        pytest.raises(ZeroDivisionError),
        applied(model, manager.library.open("tiny").family, (LoRA(name="tiny-one"),)) as changed,
    ):
        assert changed.fingerprint != model.fingerprint == changed.base
        assert changed.prepared is not model.prepared
        unet = changed.components["unet"].state_dict()
        assert any(not torch.equal(before[f"unet.{k}"], v) for k, v in unet.items())
        raise ZeroDivisionError
    after = states_of(manager, "tiny")
    assert all(torch.equal(before[key], after[key]) for key in before)


SGM = {
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.attentions.0": "middle_block.1",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
}
"""What the tiny SDXL's attentions are called in Stability AI's code."""


@pytest.mark.parametrize("name", MAKERS)
def test_kohyas_names_mean_the_same(folder: Path, tmp_path: Path, name: str) -> None:
    """A single file with kohya's names and alphas gives what diffusers' own file gives."""
    # kohya's trainer names SDXL's blocks as Stability AI does; so renamed are its attentions.
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    given = save_lora(MAKERS[name](), tmp_path / "theirs", alpha=6, layers=layers) / WEIGHTS
    tensors = {}
    for key, value in load_file(given).items():
        module, _, half = key.partition(".lora_")
        part, _, module = module.partition(".")
        if part.startswith("text"):
            number = part[-1] if part[-1].isdigit() else "1"
            prefix = f"lora_te{number if name == 'xl' else ''}_text_model_"
            module = module.removeprefix("text_model.")
        else:
            prefix = "lora_unet_"
            for old, new in SGM.items() if name == "xl" else ():
                module = module.replace(old, new)
        named = prefix + module.replace(".", "_")
        tensors[f"{named}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = value
        tensors[f"{named}.alpha"] = torch.tensor(6.0)
    save_file(tensors, tmp_path / "ink.safetensors")
    manager = PipelineManager([folder, tmp_path], device="cpu")
    assert manager.library.open(name).lora("ink").kind == "lora"
    base = BASE.replace(model=name)
    wanted, made = latents(
        manager, [base.replace(loras=["theirs:0.8"]), base.replace(loras=["ink:0.8"])]
    )
    assert apart(wanted, made) <= 1e-6


def test_a_sheet_over_scales_and_names(folder: Path, tmp_path: Path) -> None:
    """Through the studio: pictures, grouping, cache."""
    studio = Studio(folder, tmp_path, device="cpu", batch=16)
    scales = Sheet(
        base=BASE.replace(steps=2, loras=["tiny-one"]), axes=(parse_axis("lora_scale=0,0.5,1"),)
    )
    names = Sheet(base=BASE.replace(steps=2), axes=(parse_axis("lora=none,tiny-one,tiny-two:0.5"),))
    assert [cell.loras for cell in names.expand()] == [
        (), (LoRA(name="tiny-one"),), (LoRA(name="tiny-two", scale=0.5),)
    ]  # fmt: skip
    images = {}
    for sheet in (scales, names):
        for event in studio.run(sheet):
            assert not isinstance(event, CellFailed), event
            if isinstance(event, CellDone):
                images[event.request.loras] = event.image.tobytes()
    plain = images[()]
    assert images[LoRA(name="tiny-one", scale=0.0),] == plain
    assert len(set(images.values())) == len(images) - 1 == 4
    *_, end = studio.run(names)
    assert isinstance(end, RunFinished) and end.stats.cells_cached == 3
    assert len(group([studio.resolve(cell) for cell in scales.expand()])["tiny"]) == 3
    # Another file behind the same name is another picture.
    before = studio.address(BASE.replace(loras=["tiny-one"]))
    path = folder / "tiny-one" / WEIGHTS
    kept = path.read_bytes()
    save_lora(sd(), path.parent, seed=9)
    try:
        assert studio.address(BASE.replace(loras=["tiny-one"])) != before
    finally:
        path.write_bytes(kept)
    studio.close()


def test_its_tensors_are_a_component_with_counted_bytes(folder: Path) -> None:
    manager = PipelineManager([folder], device="cpu")
    with manager.use("tiny"):
        alone = manager.cached_bytes
    tensors = load_file(folder / "tiny-one" / WEIGHTS)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    for _ in range(2):
        with manager.use("tiny", (), ["tiny-one"]):
            assert manager.cached_bytes == alone + size
    first, second = manager.history[-2:]
    assert dict(first.loaded) == {"LoRA tiny-one": size} and not second.loaded


@pytest.mark.parametrize("make", [sd3, flux])
def test_transformers_equal_diffusers(make: Any, tmp_path: Path) -> None:
    name = make.__name__
    make().save_pretrained(tmp_path / name)
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    save_lora(make(), tmp_path / "ink", alpha=8, text=False, layers=layers)
    base = BASE.replace(model=name, sampler="flow_euler", negative_prompt="", steps=4)
    requests = [base.replace(loras=["ink:0.5"]), base]
    ours = latents(PipelineManager([tmp_path], device="cpu"), requests)
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(tmp_path / "ink", weight_name=WEIGHTS, adapter_name="ink")
    pipe.set_adapters(["ink"], [0.5])
    call = (
        {"true_cfg_scale": 1.0, "guidance_scale": 3.5} if make is flux else {"guidance_scale": 4.0}
    )
    made = pipe(
        base.prompt, num_inference_steps=4, generator=torch.Generator("cpu").manual_seed(base.seed),
        width=32, height=32, output_type="latent", **call,
    ).images  # fmt: skip
    made = unpack(made, 8, 8) if make is flux else made
    assert apart(ours[0], made) <= 1e-4
    assert apart(ours[0], ours[1]) > 1e-2


@pytest.mark.parametrize("backend", ["openvino"])
def test_no_backend_uses_stale_weights(
    manager: PipelineManager, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    how = ComputeOptions(backend=backend, batch=8, cache=tmp_path)
    scales = [0.0, 0.5, 1.0, 0.0]
    requests = [BASE.replace(steps=2, loras=[f"tiny-two:{scale}"]) for scale in scales]
    for request, expected in zip(requests, latents(manager, requests), strict=True):
        (made,) = latents(manager, [request], how)
        assert apart(made, expected) <= 1e-4
    assert len(list(tmp_path.rglob("*.xml"))) == 1, "only the model itself is kept on disk"
