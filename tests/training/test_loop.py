"""The loops by the clock: how long they train, what they keep, how they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.optim import loop, stage
from training.optim.checkpoint import load_checkpoint
from training.optim.optimizers import Optimizers, muon_and_adam
from training.optim.schedule import RunConfig

TARGET = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])


def ticks() -> Callable[[], float]:
    """A clock on which a second passes at every look."""
    times: Iterator[int] = iter(range(10**6))
    return lambda: float(next(times))


def learner(seed: int = 0, **more: Any) -> loop.Learner:
    """A matrix that learns to be `TARGET`."""
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)

    def loss(progress: float) -> Tensor:
        assert 0 <= progress <= 1
        return (model.weight - TARGET).square().sum() + model.bias.square().sum()

    optimizers = muon_and_adam(model.named_parameters(), (), 0.1, 0.1)
    return loop.Learner(model, optimizers, loss, **more)


def test_it_learns_until_the_clock_has_run_out(tmp_path: Path) -> None:
    path, own = tmp_path / "c.safetensors", learner(measure=lambda: {"accuracy": 0.5})
    loop.train(own, RunConfig(minutes=20), path, now=ticks())
    tensors, state = load_checkpoint(path)
    assert own.loss(1.0) < 0.01 and path.read_bytes()[8:9] == b"{", "safetensors begins with JSON"
    assert state["accuracy"] == 0.5
    assert 1200 <= state["spent"] < 1210
    assert tensors["model.weight"].equal(own.model.state_dict()["weight"])


def test_a_run_that_goes_on_takes_up_weights_optimizers_step_and_time(tmp_path: Path) -> None:
    path, first = tmp_path / "c.safetensors", learner()
    loop.train(first, RunConfig(minutes=2), path, now=ticks())
    start, second = loop.start_of(path, resume=True), learner(seed=1)
    loop.restore(second, start.tensors)
    before, after = loop.tensors_of(first), loop.tensors_of(second)
    assert before.keys() == after.keys() and all(before[k].equal(after[k]) for k in before)
    loop.train(second, RunConfig(minutes=4), path, start, now=ticks())
    state = load_checkpoint(path)[1]
    assert 0 < start.step < state["step"]
    assert 120 <= start.spent < 130 and 240 <= state["spent"] < 250
    assert second.loss(1.0) < first.loss(1.0)


def test_a_run_that_was_over_takes_one_step_more(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    loop.train(learner(), RunConfig(minutes=1), path, now=ticks())
    start = loop.start_of(path, resume=True)
    loop.train(learner(), RunConfig(minutes=1), path, start, now=ticks())
    assert load_checkpoint(path)[1]["step"] == start.step + 1


def test_only_a_checkpoint_of_the_same_run_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    assert loop.start_of(path, resume=True) == loop.Start(), "there is none"
    begun = loop.start_of(path, resume=False, about={"unet_step": 7})
    loop.train(learner(), RunConfig(minutes=1), path, begun, now=ticks())
    assert load_checkpoint(path)[1]["unet_step"] == 7
    assert loop.start_of(path, resume=True, about={"unet_step": 7}).step > 0
    assert loop.start_of(path, resume=True, about={"unet_step": 8}).step == 0
    assert loop.start_of(path, resume=False, about={"unet_step": 7}).step == 0


@pytest.mark.parametrize("prefix", ["", "vae"])
def test_a_prefix_stands_before_the_model_s_names(prefix: str) -> None:
    own, other = learner(prefix=prefix), learner(seed=1, prefix=prefix)
    kept = loop.tensors_of(own)
    assert set(kept) == ({"vae.weight", "vae.bias"} if prefix else {"weight", "bias"})
    loop.restore(other, kept)
    assert other.model.state_dict()["weight"].equal(own.model.state_dict()["weight"])


def test_gradients_are_clipped_where_wanted() -> None:
    """Plain descent moves as far as the gradient is long."""
    moved = {}
    for clip in (None, 0.5):
        own = learner()
        descent = Optimizers(torch.optim.SGD(own.model.parameters(), lr=1.0))
        clipped = loop.Learner(own.model, descent, own.loss, clip=clip)
        before = nn.utils.parameters_to_vector(own.model.parameters()).detach().clone()
        loop.train(clipped, RunConfig(minutes=1e-9, warmup=0.0), now=ticks())
        after = nn.utils.parameters_to_vector(own.model.parameters()).detach()
        moved[clip] = float((after - before).norm())
    assert moved[0.5] == pytest.approx(0.5 * 0.01, rel=1e-3), "the last step's share is 0.01"
    assert (moved[None] or 0) > 2 * moved[0.5]


class Tiny(stage.Task):
    """A matrix that learns to be `TARGET`, from zeros; each beginning leaves a mark."""

    def __init__(self, config: stage.StageConfig, cache: Path, stream: tuple[int, ...]) -> None:
        self._linear = nn.Linear(3, 2)
        self.model = self._linear

    def begin(self, folder: Path, resume: bool) -> None:
        nn.init.zeros_(self._linear.weight)
        (folder / "begun").write_text(f"resume {resume}")

    def loss(self) -> Tensor:
        return (self._linear.weight.float() - TARGET).square().sum()

    def note(self) -> str:
        return "a note"

    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        return Optimizers(torch.optim.SGD(masters.values(), lr=1e-6))

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        (folder / "shown").write_text(str(step))


def test_workers_begin_with_the_task_s_first_weights_and_go_on_without(tmp_path: Path) -> None:
    """A rate of nearly nothing keeps the weights where they began."""
    threads = torch.get_num_threads()
    folder = tmp_path / "tiny"
    try:
        config = stage.StageConfig(minutes=0.001)
        path = stage.train("tiny", Tiny, config, tmp_path, resume=False)
        first = stage.load_average(path)
        step = load_checkpoint(path)[1]["step"]
        assert (folder / "begun").read_text() == "resume False"
        assert first["weight"].abs().max() < 1e-3, "from zeros"
        assert (folder / "shown").read_text() == str(step)
        (folder / "begun").unlink()
        stage.train("tiny", Tiny, config, tmp_path, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert load_checkpoint(path)[1]["step"] > step
    assert not (folder / "begun").exists()
    assert stage.load_average(path)["weight"].abs().max() < 1e-3
