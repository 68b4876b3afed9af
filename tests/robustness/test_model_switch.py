"""Fifty switches among five models where two fit: bytes, leaks, loads against the best policy."""

from __future__ import annotations

import gc
import random
import weakref

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.errors import Cancelled, ModelUnavailable, OutOfMemory
from pipelines.model_manager import component_loader
from pipelines.model_manager.component import ComponentKey
from pipelines.model_manager.component_cache import eviction_order
from pipelines.model_manager.component_loader import measure
from pipelines.model_manager.lora_patcher import applied
from pipelines.model_manager.manager import PipelineManager
from pipelines.request.lora import LoRA
from pipelines.runs.queue import LoadSet
from tests.helpers.lora_makers import save_with_loras
from tests.helpers.tiny import sd, unet

NAMES = tuple("abcde")
SWITCHES = 50
AHEAD = 8


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Five models of about 16 MB, so that a leak of them would be seen in the process's memory."""
    folder = tmp_path_factory.mktemp("five")
    for seed, name in enumerate(NAMES):
        pipe = sd(seed=seed)
        pipe.unet = unet(block_out_channels=(64, 128))
        pipe.save_pretrained(folder / name, safe_serialization=True)
    return folder


def size_of(folder, name="a"):
    manager = PipelineManager([folder], device="cpu", budget=10**9)
    with manager.use(name):
        return manager.cached_bytes


def order_of(seed):
    """Fifty names, no two alike in a row."""
    draw = random.Random(seed)
    names = [draw.choice(NAMES)]
    while len(names) < SWITCHES:
        names.append(draw.choice([name for name in NAMES if name != names[-1]]))
    return names


def fewest(names, room, ahead):
    """Loads of Belady's policy that sees so many uses ahead, and evicts the oldest of equals."""
    inside, loads = [], 0
    for i, name in enumerate(names):
        if name not in inside:
            loads += 1
            if len(inside) == room:
                soon = names[i + 1 : i + 1 + ahead]
                far = [soon.index(one) if one in soon else ahead for one in inside]
                inside.pop(far.index(max(far)))
        else:
            inside.remove(name)
        inside.append(name)
    return loads


def switch(manager, names, ahead):
    """Use each in turn, as the worker does with a line that long; how many uses loaded weights."""
    before = len(manager.history)
    for i, name in enumerate(names):
        manager.expect([LoadSet(one) for one in names[i : i + 1 + ahead]])
        with manager.use(name):
            assert manager.cached_bytes <= manager.budget
    return sum(any(one.loaded.values()) for one in manager.history[before:])


@pytest.fixture(scope="module")
def whole(five):
    return size_of(five)


@pytest.fixture
def alive(monkeypatch):
    """Bytes of all loaded components that still exist, however they are held; after each load."""
    born, seen = [], []
    load = component_loader.load

    def watched(part, device):
        component = load(part, device)
        if hasattr(component, "parameters"):
            born.append(weakref.ref(component))
        living = [one() for one in born]
        seen.append(sum(measure(one) for one in living if one is not None))
        return component

    monkeypatch.setattr(component_loader, "load", watched)
    return seen


@pytest.mark.parametrize("ahead", [0, AHEAD])
def test_fifty_switches(five, whole, alive, ahead):
    manager = PipelineManager([five], device="cpu", budget=2 * whole)
    switch(manager, order_of(1)[:15], ahead)  # allocators and imports warm up
    gc.collect()
    before = psutil.Process().memory_info().rss
    names = order_of(2)
    start = manager.history[-1].model
    loads = switch(manager, names, ahead)
    gc.collect()
    after = psutil.Process().memory_info().rss
    assert abs(after - before) <= 0.05 * before, (before, after)
    assert max(alive) <= manager.budget, "what was evicted is really gone"
    best = fewest(names, 2, ahead)
    assert loads <= 1.3 * best, (loads, best, start)
    if ahead:
        assert loads < fewest(names, 2, 0), "looking ahead is worth something"
        assert loads <= 1.3 * fewest(names, 2, len(names))


def test_what_is_needed_last_goes_first():
    a, b, c, d = (ComponentKey(name, None, "") for name in "abcd")
    idle = {a: 1.0, b: 2.0, c: 3.0, d: 4.0}
    assert eviction_order(idle, []) == [a, b, c, d]
    assert eviction_order(idle, [{a}, {c, d}, {a, b}]) == [b, c, d, a]
    assert eviction_order(idle, [{c}]) == [a, b, d, c]


def test_a_load_is_cancelled_between_components(five):
    manager = PipelineManager([five], device="cpu", budget=2 * size_of(five))
    with manager.use("a"):
        pass
    asked = iter([False, False, True])  # before text encoder, UNet, VAE; the tokenizer is shared
    with (
        pytest.raises(Cancelled, match="stopped before"),
        manager.use("b", stop=lambda: next(asked)),
    ):
        pass
    assert not any(one.in_use for one in manager.cached)
    assert manager.is_loaded(LoadSet("a")) and not manager.is_loaded(LoadSet("b"))
    with manager.use("a"):
        assert manager.history[-1].loaded == {}
    with manager.use("b"):
        assert manager.history[-1].reused == ("tokenizer", "text_encoder", "unet")


def test_what_a_failed_load_left_is_the_first_to_go(five, tmp_path):
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(five, folder)
    vae = folder / "b" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(vae)
    tensors.popitem()
    save_file(tensors, vae, metadata={"format": "pt"})
    manager = PipelineManager([folder], device="cpu", budget=2 * size_of(folder))
    with manager.use("a"):
        pass
    with pytest.raises(ModelUnavailable), manager.use("b"):
        pass
    with manager.use("c"):
        assert all(name.startswith("b/") for name in manager.history[-1].evicted)
    assert manager.history[-1].evicted, "b's parts took room that c needs"
    with manager.use("a"):
        assert manager.history[-1].loaded == {}


def test_what_can_never_fit_evicts_nothing(five):
    manager = PipelineManager([five], device="cpu", budget=int(1.5 * size_of(five)))
    with manager.use("a"):
        with pytest.raises(OutOfMemory), manager.use("b"):
            pass
        assert {one.name.partition("/")[0] for one in manager.cached} == {"a"}


def test_originals_under_a_lora_count(tmp_path):
    folder = save_with_loras(tmp_path)
    manager = PipelineManager([folder], device="cpu", budget=10**9)
    state = (LoRA(name="tiny-one"),)
    with manager.use("tiny", (), ["tiny-one"]) as model:
        whole = manager.cached_bytes
        family = manager.library.open("tiny").family
        plain = {
            name: value.clone()
            for part in ("unet", "text_encoder")
            for name, value in model.components[part].state_dict().items()
        }
        with applied(model, family, state, manager.reserve) as changed:
            now = {
                name: value
                for part in ("unet", "text_encoder")
                for name, value in changed.components[part].state_dict().items()
            }
            expected = sum(
                one.nbytes for name, one in now.items() if not torch.equal(one, plain[name])
            )
            assert manager.cached_bytes - whole == expected > 0
        assert manager.cached_bytes == whole
    tight = PipelineManager([folder], device="cpu", budget=whole + expected - 1)
    with tight.use("tiny", (), ["tiny-one"]) as model:
        with (
            pytest.raises(OutOfMemory, match="originals under tiny-one"),
            applied(model, family, state, tight.reserve),
        ):
            pass
        after = model.components["unet"].state_dict()
        assert all(torch.equal(after[name], plain[name]) for name in after)
    exact = PipelineManager([folder], device="cpu", budget=whole + expected)
    with (
        exact.use("tiny", (), ["tiny-one"]) as model,
        applied(model, family, state, exact.reserve),
    ):
        assert exact.cached_bytes == exact.budget
