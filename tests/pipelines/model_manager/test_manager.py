"""What the manager loads, shares and evicts, counted in bytes on real tiny models."""

from __future__ import annotations

import logging
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines import samplers
from pipelines.devices.hardware import Hardware, resolve_device
from pipelines.devices.placement import default_budget
from pipelines.errors import ContactSheetError, ModelUnavailable, OutOfMemory, UnknownName
from pipelines.model_manager.component_loader import measure
from pipelines.model_manager.manager import PipelineManager
from pipelines.samplers.scheduler_builder import prototype

PARTS = ("text_encoder", "unet", "vae")
UNET = "diffusion_pytorch_model.safetensors"


def manager_of(folder, budget=10**9):
    return PipelineManager([folder], device="cpu", budget=budget)


def tensors_of(*views):
    """Bytes of all distinct tensors of these models, from their storages alone."""
    modules = [view.components[part] for view in views for part in PARTS]
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(storages.values())


@pytest.fixture
def sizes(models):
    """Bytes of tiny's components in memory, and of all of it."""
    manager = manager_of(models)
    with manager.use("tiny") as model:
        parts = {part: measure(model.components[part]) for part in PARTS}
    assert parts == {name: size for name, size in manager.history[0].loaded.items() if size}
    return {**parts, "all": sum(parts.values())}


def test_second_use_loads_nothing(models):
    manager = manager_of(models)
    with manager.use("tiny") as first:
        pass
    with manager.use("tiny") as second:
        pass
    one, two = manager.history
    assert set(one.loaded) == {"tokenizer", *PARTS} and one.reused == ()
    assert two.loaded == {} and set(two.reused) == {"tokenizer", *PARTS}
    assert all(first.components[part] is second.components[part] for part in PARTS)


def test_models_share_what_is_equal(models):
    manager = manager_of(models)
    with manager.use("tiny") as tiny, manager.use("twin") as twin:
        assert tiny.components["vae"] is twin.components["vae"]
        assert tiny.components["text_encoder"] is twin.components["text_encoder"]
        assert tiny.components["unet"] is not twin.components["unet"]
        assert manager.cached_bytes == tensors_of(tiny, twin)
    loading = manager.history[1]
    assert list(loading.loaded) == ["unet"]
    assert loading.loaded["unet"] == measure(twin.components["unet"])
    assert set(loading.reused) == {"tokenizer", "text_encoder", "vae"}
    assert tiny.fingerprint != twin.fingerprint


def test_resident_bytes_are_the_tensors(models, sizes):
    manager = manager_of(models)
    assert manager.cached_bytes == 0 and manager.history == []
    with manager.use("tiny") as tiny:
        assert manager.cached_bytes == tensors_of(tiny) == sizes["all"]
    with manager.use("tinyv") as other:
        assert manager.cached_bytes == tensors_of(tiny, other) == 2 * sizes["all"]
    assert manager.free_idle() and manager.cached_bytes == 0
    assert not manager.free_idle()


def test_weights_are_the_files(models):
    with manager_of(models).use("tinyv") as model:
        state = model.components["unet"].state_dict()
    stored = load_file(models / "tinyv" / "unet" / UNET)
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    assert model.configs["scheduler"]["prediction_type"] == "v_prediction"
    assert not any(p.requires_grad for p in model.components["unet"].parameters())


def test_the_longest_unused_goes_first(models, sizes):
    # Room for tiny, tinyv and nothing else: twin's UNet needs exactly one eviction.
    manager = manager_of(models, budget=2 * sizes["all"])
    for name in ("tinyv", "tiny"):
        with manager.use(name):
            pass
    assert manager.cached_bytes == 2 * sizes["all"]
    with manager.use("twin"):
        assert manager.cached_bytes == 2 * sizes["all"] - freed(manager, sizes) + sizes["unet"]
    assert manager.history[-1].evicted[0].startswith("tinyv/"), "used before tiny"
    assert all(name.startswith("tinyv/") for name in manager.history[-1].evicted)
    assert manager.cached_bytes <= 2 * sizes["all"]
    with manager.use("tiny"):
        pass
    assert manager.history[-1].loaded == {}, "tiny, used later, stayed whole"


def freed(manager, sizes):
    names = [name.partition("/")[2] for name in manager.history[-1].evicted]
    return sum(sizes.get(name, 0) for name in names)


def test_use_makes_recent(models, sizes):
    manager = manager_of(models, budget=2 * sizes["all"])
    for name in ("tinyv", "tiny", "tinyv"):
        with manager.use(name):
            pass
    with manager.use("twin"):
        pass
    # Of tiny only what twin does not need may go: its UNet.
    assert manager.history[-1].evicted == ("tiny/unet",)
    assert manager.cached_bytes == 2 * sizes["all"]


def test_one_byte_decides(models, sizes):
    roomy = manager_of(models, budget=sizes["all"] + sizes["unet"])
    tight = manager_of(models, budget=sizes["all"] + sizes["unet"] - 1)
    for manager, evicted in ((roomy, ()), (tight, ("tiny/unet",))):
        with manager.use("tiny"):
            pass
        with manager.use("twin"):
            pass
        assert manager.history[-1].evicted == evicted
        assert manager.cached_bytes <= manager.budget


def test_what_the_model_itself_needs_is_not_evicted_for_it(models, sizes):
    manager = manager_of(models, budget=sizes["all"] + sizes["vae"])
    for name in ("tiny", "tinyv"):
        with manager.use(name):
            pass
    assert manager.history[-1].evicted == ("tiny/text_encoder", "tiny/unet")
    assert manager.cached_bytes == manager.budget
    with manager.use("twin"):
        # tiny's VAE is the oldest that is idle, but twin is about to use it.
        assert "vae" in manager.history[-1].reused
        assert set(manager.history[-1].loaded) == {"text_encoder", "unet"}


def test_what_is_in_use_is_never_evicted(models, sizes):
    manager = manager_of(models, budget=sizes["all"] + sizes["unet"] - 1)
    with manager.use("tiny") as tiny:
        with pytest.raises(OutOfMemory) as error, manager.use("twin"):
            pass
        assert manager.cached_bytes == sizes["all"]
        assert not manager.free_idle(), "nothing is idle while tiny is in use"
        assert all(tiny.components[part] is not None for part in PARTS)
    message = str(error.value)
    assert str(models / "twin" / "unet") in message
    assert "MB are in use" in message and "--memory" in message
    with manager.use("tiny"):
        pass
    assert manager.history[-1].loaded == {}
    with manager.use("twin"):
        assert "tiny/unet" in manager.history[-1].evicted


def test_nested_use_counts_users(models, sizes):
    manager = manager_of(models)
    with manager.use("tiny"):
        with manager.use("tiny"):
            pass
        assert not manager.free_idle() and manager.cached_bytes == sizes["all"]
    assert manager.free_idle()


def test_a_budget_below_one_component(models):
    manager = manager_of(models, budget=10)
    with pytest.raises(OutOfMemory, match="the budget is 0 MB"), manager.use("tiny"):
        pass
    assert manager.history == []


def break_config(model):
    path = model / "unet" / "config.json"
    path.write_text(path.read_text().replace("CrossAttnDownBlock2D", "NoSuchBlock2D"))


def lose_a_tensor(model):
    tensors = load_file(model / "unet" / UNET)
    del tensors["conv_in.weight"]
    save_file(tensors, model / "unet" / UNET, metadata={"format": "pt"})


def reshape_a_tensor(model):
    tensors = load_file(model / "unet" / UNET)
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :2].contiguous()
    save_file(tensors, model / "unet" / UNET, metadata={"format": "pt"})


def lose_text_weights(model):
    path = model / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, metadata={"format": "pt"})


def unknown_class(model):
    path = model / "model_index.json"
    path.write_text(path.read_text().replace("UNet2DConditionModel", "UNetOfTheFuture"))


DAMAGES = [break_config, lose_a_tensor, reshape_a_tensor, lose_text_weights, unknown_class]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_failed_load_leaves_the_rest_usable(shelf, damage, sizes):
    folder, add = shelf
    add("good")
    damage(add("bad"))
    manager = manager_of(folder)
    with manager.use("good"):
        pass
    with pytest.raises(ModelUnavailable) as error, manager.use("bad"):
        pass
    assert str(folder / "bad") in str(error.value)
    assert len(manager.history) == 1
    with manager.use("good") as good:
        assert manager.cached_bytes >= tensors_of(good) == sizes["all"]
    assert manager.history[-1].loaded == {}
    assert manager.free_idle() and manager.cached_bytes == 0, "nothing stays in use"


def test_unknown_models(models):
    with pytest.raises(UnknownName, match="did you mean 'tiny'"), manager_of(models).use("tinny"):
        pass


def test_swapping_a_scheduler_loads_nothing_and_takes_no_time(models):
    """Every sampler on every schedule: as if it had never been used, then again."""
    manager = manager_of(models)

    def seconds(sampler, schedule, config):
        # Processor time, which other work on the machine does not stretch.
        started = time.thread_time()
        samplers.build(sampler, schedule, config, 25, 0)
        return time.thread_time() - started

    for row in samplers.SAMPLERS.values():
        for schedule in row.schedules:
            with manager.use("tiny") as model:
                # A flow sampler needs nothing of a config to be built.
                config = {} if row.kind == "flow" else model.configs["scheduler"]
                first, again = [], []
                for _ in range(5):
                    prototype.cache_clear()
                    first.append(seconds(row.id, schedule, config))
                    again.append(seconds(row.id, schedule, config))
            # The best of several: the very first imports the scheduler's module. scipy's
            # quantiles, one a timestep, are a third of what the schedule beta takes.
            assert min(first) < (0.01 if schedule == "beta" else 0.005), (row.id, schedule, first)
            assert min(again) < 0.002, (row.id, schedule, again)
    assert all(loading.loaded == {} for loading in manager.history[1:])
    assert len(manager.history) > 50


def test_schedulers_share_no_state(models):
    config = manager_of(models).library.open("tiny").configs["scheduler"]
    x, output = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 0.3)
    one, other = (samplers.build("lms", "karras", config, 8, 0) for _ in range(2))
    fresh = [tensor.clone() for tensor in (other.sigmas, other.timesteps)]
    for t in one.timesteps[:3]:
        one.scale_model_input(x, t)
        one.step(output, t, x)
    one.config["beta_end"] = one.sigmas[:] = 0
    again = samplers.build("lms", "karras", config, 8, 0)
    for scheduler in (other, again):
        assert scheduler.derivatives == [] and scheduler.config["beta_end"] == 0.012
        assert torch.equal(scheduler.sigmas, fresh[0])
        assert torch.equal(scheduler.timesteps, fresh[1])


def test_threads_that_load_at_once_load_once(models, sizes):
    manager = manager_of(models)
    names = ["tiny", "twin", "tinyv"] * 4
    barrier = threading.Barrier(len(names))
    seen, errors = [], []

    def use(name):
        try:
            barrier.wait(30)
            with manager.use(name) as model:
                seen.append((name, id(model.components["unet"]), id(model.components["vae"])))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=use, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and len(seen) == len(names)
    assert len(set(seen)) == 3 and len({vae for _, _, vae in seen}) == 2
    loaded = [size for loading in manager.history for size in loading.loaded.values()]
    assert sum(loaded) == manager.cached_bytes == 2 * sizes["all"] + sizes["unet"]


def test_threads_never_exceed_the_budget(models, sizes):
    manager = manager_of(models, budget=sizes["all"])
    peak, unexpected = [], []

    def use(name):
        for _ in range(4):
            try:
                with manager.use(name):
                    peak.append(manager.cached_bytes)
            except OutOfMemory:
                time.sleep(0.005)  # others hold the memory; that is the right answer
            except Exception as error:
                unexpected.append(error)

    threads = [threading.Thread(target=use, args=(name,)) for name in ("tiny", "tinyv", "twin")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not unexpected
    assert peak and max(peak) <= sizes["all"]
    assert manager.cached_bytes == 0 or manager.free_idle()


def test_fingerprints_follow_content(shelf):
    folder, add = shelf
    two = add("one") and add("two")
    manager = manager_of(folder)
    assert manager.fingerprint("one") == manager.fingerprint("two"), "where it lies is no content"
    before = manager.fingerprint("two")
    scheduler = two / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.012", "0.013"))
    changed = manager.fingerprint("two")
    assert changed != before
    shutil.rmtree(two / "unet")
    shutil.copytree(folder.parent / "shelf" / "one" / "unet", two / "unet")
    assert manager.fingerprint("two") == changed
    tensors = load_file(two / "unet" / UNET)
    tensors["conv_in.bias"] += 1e-3
    save_file(tensors, two / "unet" / UNET, metadata={"format": "pt"})
    assert manager.fingerprint("two") != changed
    assert manager.fingerprint("one") == before


def test_the_log_line_says_what_happened(models, sizes, caplog):
    manager = manager_of(models, budget=sizes["all"] + sizes["unet"] - 1)
    with caplog.at_level(logging.INFO, logger="pipelines.model_manager.manager"):
        for name in ("tiny", "tiny", "twin"):
            with manager.use(name):
                pass
    lines = [r.getMessage() for r in caplog.records if r.name == "pipelines.model_manager.manager"]
    assert len(lines) == 2, "a use that loads nothing is not worth a line"
    assert lines[0].startswith("tiny: loaded tokenizer 0 MB, text_encoder")
    assert "reused nothing; evicted nothing" in lines[0]
    assert lines[1].startswith("twin: loaded unet") and "evicted tiny/unet" in lines[1]
    assert lines[1].endswith(" s")


def test_sizes_come_from_the_configs(models):
    manager = manager_of(models)
    sizes = manager.library.open("tiny").capabilities.sizes
    assert sizes.native == (32, 32) and sizes.multiple == 4
    sizes.check(32, 64)
    with pytest.raises(ContactSheetError, match=r"width is 33; .*multiples of 4 .*nearest is 32"):
        sizes.check(33, 32)
    with pytest.raises(ContactSheetError, match=r"height is 4; .*from 8 "):
        sizes.check(32, 4)
    assert manager.history == [], "no weights were needed"


def test_budget_and_device():
    assert default_budget(Hardware("cpu", 100)) == 50
    assert default_budget(Hardware("cuda", 100, has_own_memory=True)) == 80
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ModelUnavailable, match="device 'toaster'"):
        resolve_device("toaster")
    assert PipelineManager([], device="cpu").budget > 0
