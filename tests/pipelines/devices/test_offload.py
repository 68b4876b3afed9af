"""Components that wait in main memory make the same pictures, within the device's budget."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import ImageChops
from torch import nn

from pipelines import Request, Sheet, Studio
from pipelines.devices import hardware
from pipelines.devices.hardware import Hardware
from pipelines.devices.memory_options import MemoryOptions
from pipelines.devices.offload import OnDemandOffloader, place_component
from pipelines.devices.placement import Offload
from pipelines.errors import OutOfMemory
from pipelines.model_manager import tiered_cache
from pipelines.model_manager.manager import PipelineManager
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.control import Control
from pipelines.runs.events import CellDone
from tests.helpers.tiny import controlnet, save_sd
from tests.helpers.tiny_families import save_all

APART = Hardware("cpu", 10**9, has_own_memory=True)
"""The CPU, with a memory of its own: what a GPU does with its budget, the same code does here."""
REQUEST = {"prompt": "an apple", "steps": 3, "width": 32, "height": 32, "seed": 5}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_all(tmp_path_factory.mktemp("zoo"))
    save_sd(folder / "sd")
    controlnet().save_pretrained(folder / "net-canny")
    return folder


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """All of these models are tiny."""


def request(name: str, **more: Any) -> Request:
    flow = name.startswith(("sd3", "flux"))
    sampler = "flow_euler" if flow else "euler"
    return Request(model=name, sampler=sampler, **{**REQUEST, **more})


def studio_of(zoo: Path, offload: Offload, budget: int | None = None) -> Studio:
    like = None if budget is None else APART
    memory_options = MemoryOptions(offload=offload)
    return Studio(
        zoo, device="cpu", budget=budget, memory_options=memory_options, batch=2, hardware=like
    )


def noted(shuttle: OnDemandOffloader, among: list[OnDemandOffloader]) -> OnDemandOffloader:
    among.append(shuttle)
    return shuttle


def equal(one: Any, two: Any) -> bool:
    return ImageChops.difference(one, two).getbbox() is None


def weights_of(zoo: Path, name: str) -> dict[str, int]:
    manager = PipelineManager([zoo], device="cpu", budget=10**9)
    with manager.use(name):
        return {part: size for part, size in manager.history[0].loaded.items() if size}


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux-dev"])
@pytest.mark.parametrize("offload", ["model", "group"])
def test_the_pictures_are_the_same_wherever_the_weights_wait(
    zoo: Path, name: str, offload: Offload
) -> None:
    plain, moving = studio_of(zoo, "none"), studio_of(zoo, offload)
    assert equal(plain.image(request(name)), moving.image(request(name)))
    assert set(moving.manager.history[-1].waiting) == set(weights_of(zoo, name))
    assert moving.manager.cached_bytes == plain.manager.cached_bytes, "counted once"


@pytest.mark.parametrize("name", ["sdxl", "flux-dev"])
def test_a_model_larger_than_the_budget_is_moved_through_it(
    zoo: Path, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuttles: list[OnDemandOffloader] = []
    monkeypatch.setattr(
        tiered_cache, "OnDemandOffloader", lambda device: noted(OnDemandOffloader(device), shuttles)
    )
    sizes = weights_of(zoo, name)
    budget = int(0.9 * sum(sizes.values()))
    studio = studio_of(zoo, "auto", budget)
    seen: list[int] = []
    with caplog.at_level(logging.DEBUG, "pipelines.devices.offload"):
        run = studio.submit(Sheet(base=request(name, steps=6), axes=(parse_axis("seed=1-3"),)))
        for event in run.watch():
            seen.append(studio.manager.cached_bytes)
            if isinstance(event, CellDone):
                last = event
    assert run.snapshot().status == "done", run.snapshot().error
    assert 0 < max(seen) <= budget
    came = [record.getMessage().split()[0] for record in caplog.records]
    denoiser = "UNet2DConditionModel" if name == "sdxl" else "FluxTransformer2DModel"
    assert came.count(denoiser) == 1, "what computes every step stays"
    assert any(
        "TextModel" in said.partition(";")[2] or "Encoder" in said.partition(";")[2]
        for said in caplog.messages
    ), "encoders leave for it"
    plain = studio_of(zoo, "none").image(last.request)
    assert equal(plain, last.image)
    assert [one.present for one in shuttles] == [0], "all are back when the run ends"
    studio.close()


def test_what_is_too_large_alone_comes_layer_by_layer_beside_a_controlnet(zoo: Path) -> None:
    cell = request("sd", guidance_scale=3.0)
    plain = studio_of(zoo, "none")
    sizes = weights_of(zoo, "sd")
    net = plain.add_picture(plain.image(cell))
    cell = cell.replace(controls=[Control(image=net, preprocessor="none", model="net-canny")])
    with plain.manager.use("sd", ["net-canny"]):
        beside = plain.manager.history[-1].loaded["controlnet net-canny"]
    studio = studio_of(zoo, "auto", beside + max(sizes.values()) - 1)
    studio.add_picture(plain.picture(net))
    assert equal(plain.image(cell), studio.image(cell))
    assert "unet" in studio.manager.history[-1].waiting
    assert studio.manager.cached_bytes <= studio.manager.budget


def test_none_says_what_would_help(zoo: Path) -> None:
    manager = PipelineManager(
        [zoo], device="cpu", budget=1000, memory_options=MemoryOptions(offload="none")
    )
    with pytest.raises(OutOfMemory, match=r"--memory.*--offload"), manager.use("sdxl"):
        pass


class Recorded(nn.Linear):
    """Remembers where it was moved to."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        self.moves = [*getattr(self, "moves", []), str(args[0])]
        return super().to(*args, **kwargs)


@torch.inference_mode()
def test_only_what_must_leaves_and_the_longest_unused_first() -> None:
    text, unet, vae = Recorded(4, 4), Recorded(4, 4), Recorded(4, 4)
    shuttle, x = OnDemandOffloader("cpu:0"), torch.ones(1, 4)
    visitors = [(text, 40), (unet, 50), (vae, 30)]
    with shuttle.open(visitors, 80):
        for called in (text, unet, unet, vae, unet, vae):
            called(x)
            assert shuttle.present <= 80
        assert text.moves == ["cpu:0", "cpu"], "50 more did not fit beside it"
        assert unet.moves == vae.moves == ["cpu:0"], "they fit side by side"
        text(x)
        assert unet.moves == ["cpu:0", "cpu"] and vae.moves == ["cpu:0"]
    assert shuttle.present == 0
    assert all(one.moves[-1] == "cpu" for one in (text, unet, vae))


def test_a_view_that_overlaps_another_takes_nothing_from_it() -> None:
    shuttle = OnDemandOffloader("cpu:0")
    one = Recorded(4, 4)
    with shuttle.open([(one, 10)], 20):
        with shuttle.open([(one, 10)], 10):
            one(torch.ones(1, 4))
        assert one.moves == ["cpu:0"] and shuttle.present == 10
    assert one.moves == ["cpu:0", "cpu"]


class Embedding(Recorded):
    """A denoiser whose position embedding a ControlNet calls without it."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.pos_embed = nn.Linear(4, 4)


def test_a_part_that_is_called_alone_brings_all_of_it() -> None:
    denoiser, text = Embedding(), Recorded(4, 4)
    shuttle, x = OnDemandOffloader("cpu:0"), torch.ones(1, 4)
    with shuttle.open([(denoiser, 10), (text, 10)], 10):
        denoiser.pos_embed(x)
        assert denoiser.moves == ["cpu:0"]
        text(x)
        denoiser.pos_embed(x)
        assert denoiser.moves == ["cpu:0", "cpu", "cpu:0"] and text.moves[-1] == "cpu"
    gone = weakref.ref(denoiser)
    del denoiser
    assert gone() is None, "its memory is free at once"


def test_only_the_button_frees_what_waits_in_main_memory(zoo: Path) -> None:
    studio = studio_of(zoo, "model", 10**9)
    assert all(True for _ in studio.submit(Sheet(base=request("sdxl"))).watch())
    manager = studio.manager
    before = [one for one in manager.cached if one.bytes]
    assert before and all(one.waiting for one in before)
    manager.free_idle()
    assert list(manager.cached) == before, "the device gains nothing by those"
    assert manager.free_idle(waiting=True) and not manager.cached


def test_what_does_not_fit_where_it_waits_says_how_large_that_is(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = studio_of(zoo, "model", 10**9)
    monkeypatch.setattr(hardware, "device_memory", lambda device: 2000)  # of which half is kept
    said = r"budget is 0 MB.*half of main memory.*--quantize"
    with pytest.raises(OutOfMemory, match=said), studio.manager.use("sdxl"):
        pass


@pytest.mark.gpu
@pytest.mark.parametrize("home", ["model", "group"])
@torch.inference_mode()
def test_on_a_gpu_weights_are_back_in_main_memory_afterwards(home: Any) -> None:
    net = controlnet().controlnet_cond_embedding
    x = torch.rand(1, 3, 32, 32)
    expected = net(x)
    moved = place_component(net, home, "cuda")
    shuttle = OnDemandOffloader("cuda")
    with shuttle.open([(moved, 1)] if home == "model" else [], 1):
        found = moved(x.to("cuda"))
    assert float((found.cpu() - expected).abs().max()) <= 1e-3
    assert {one.device.type for one in moved.parameters()} == {"cpu"}
