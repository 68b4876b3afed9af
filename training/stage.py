"""The loop that the shipped model's siblings are trained in: two workers, a clock, an average.

A stage says what learns, what one batch's loss is, and what its average can do so far; the rest
(shared memory, the schedule by the clock, checkpoints, the log) is the same for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training import common
from training.team import WORKERS, Memory, Worker, views
from training.unet import ema_decay


@dataclass(frozen=True)
class StageConfig:
    """What decides every run, apart from the machine's speed.

    Args:
        model: the shipped model's folder, whose parts are used and stay as they are.
        batch: rows a step, of all workers together.
        ema_power: see `unet.ema_decay`.
        workers: processes that train together.
    """

    model: str = "models/emoji"
    batch: int = 128
    warmup: float = 0.03
    ema_power: float = 12.0
    seed: int = 0
    minutes: float = 10.0
    checkpoint_minutes: float = 3.0
    workers: int = WORKERS


class Task(Protocol):
    """One stage, as every worker holds it.

    `model` holds what learns and nothing else; a worker turns it to bfloat16 and lays its
    parameters into shared memory.
    """

    model: nn.Module

    def loss(self) -> Tensor:
        """Of a fresh batch, a number with a gradient."""

    def make_optimizers(self, masters: dict[str, Tensor]) -> common.Optimizers:
        """For these float32 parameters, by their names in `model`."""

    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """What the moving average can do: figures to the log, samples to the folder."""


Make = Callable[[Any, Path, tuple[int, ...]], Task]
"""From the config, the cache and the stream of random numbers; a module's function, for `spawn`."""


def train(name: str, make: Make, config: StageConfig, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` into `cache/name` and return the checkpoint's path."""
    folder = cache / name
    common.start_log(folder, name)
    common.save_config(config, folder)
    torch.manual_seed(config.seed)
    task = make(config, cache, ())
    path, state = folder / "checkpoint.safetensors", {"step": 0, "spent": 0.0}
    context = torch.multiprocessing.get_context("spawn")
    memory = Memory.of(task.model, context, config.workers)
    if resume and path.exists():
        tensors, state = common.load_checkpoint(path)
        for kind, flat in (
            ("model", memory.masters), ("model", memory.weights), ("average", memory.average),
        ):  # fmt: skip
            for key, value in views(flat, task.model).items():
                value.copy_(tensors[f"{kind}.{key}"])
        common.log.info("resumed at step %d, %.0f s spent", state["step"], state["spent"])
    common.log.info("%.2fM parameters learn", len(memory.masters) / 1e6)
    others = [
        context.Process(
            target=work, args=(rank, memory, name, make, config, cache, state), daemon=True
        )
        for rank in range(1, config.workers)
    ]
    for other in others:
        other.start()
    work(0, memory, name, make, config, cache, state)
    for other in others:
        other.join()
    return path


def work(
    rank: int,
    memory: Memory,
    name: str,
    make: Make,
    config: StageConfig,
    cache: Path,
    state: dict[str, Any],
) -> None:
    """What each of the processes does, until worker 0's clock has run out."""
    torch.set_num_threads(1)
    folder, step = cache / name, int(state["step"])
    if rank > 0:
        common.start_log(folder / f"worker-{rank}", name)
    torch.manual_seed((config.seed << 8) + rank + 1000 * step)
    task = make(config, cache, (rank, step))
    worker = Worker(rank, memory, task.model, task.make_optimizers)
    kept = folder / f"optimizer-{rank}.safetensors"
    if step and kept.exists():
        worker.optimizers.restore(common.load_checkpoint(kept)[0])
    clock = common.Clock(config.minutes, float(state["spent"]))
    saved, losses, done = clock.spent, [], False
    while not done:
        loss = task.loss()
        loss.backward()
        losses.append(loss.item())
        if rank == 0:
            progress = clock.progress
            due = clock.spent - saved > config.checkpoint_minutes * 60
            share = common.cosine(progress, config.warmup)
            memory.signals.copy_(torch.tensor([share, due, progress >= 1]))
        worker.wait()
        share, due, last = memory.signals.tolist()
        done = bool(last)
        step += 1
        worker.step(share, ema_decay(step, config.ema_power))
        if rank == 0 and (step % 20 == 0 or done):
            mean = sum(losses) / len(losses)
            common.log.info("step %d rate %.2f loss %.4f, %.0f s", step, share, mean, clock.spent)
            losses.clear()
        if due or done:
            saved = clock.spent
            if rank == 0:
                average = views(memory.average, task.model)
                tensors = common.prefixed("model", views(memory.masters, task.model))
                tensors |= common.prefixed("average", average)
                spent = {"step": step, "spent": saved}
                common.save_checkpoint(folder / "checkpoint.safetensors", tensors, spent)
                task.show(average, folder, step)
            common.save_checkpoint(kept, worker.optimizers.tensors(), {"step": step})
            worker.wait()


def load_average(path: Path) -> dict[str, Tensor]:
    """The moving average in a stage's checkpoint, by the names in its task's model."""
    return common.part(common.load_checkpoint(path)[0], "average")
