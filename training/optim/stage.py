"""Training loop of several processes: a clock, shared weights, and their moving average.

For the UNet and for the shipped model's siblings. A stage says what learns, what one batch's loss
is, and what its average can do so far; the rest (shared memory, the schedule by the clock,
checkpoints, the log) is the same for all of them. `training.optim.loop` is its like in one process.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.optim.checkpoint import load_checkpoint, prefixed, save_checkpoint, unprefixed
from training.optim.optimizers import Optimizers
from training.optim.run_folder import log, open_run, start_log
from training.optim.schedule import Clock, RunConfig, cosine, ema_decay
from training.optim.team import WORKERS, Memory, Worker, views


@dataclass(frozen=True)
class StageConfig(RunConfig):
    """Configuration of a run of several processes.

    Args:
        ema_power: see `schedule.ema_decay`.
        workers: processes that train together.
    """

    batch: int = 128
    warmup: float = 0.03
    ema_power: float = 12.0
    checkpoint_minutes: float = 3.0
    log_steps: int = 20
    workers: int = WORKERS


class Task(ABC):
    """Training task of one stage, as every worker holds it.

    `model` holds what learns and nothing else; a worker turns it to bfloat16 and lays its
    parameters into shared memory.
    """

    model: nn.Module

    def begin(self, folder: Path, resume: bool) -> None:
        """Give `model` its first weights, where random ones will not do; not on going on.

        Args:
            folder: of the run; what is made here may be kept in it.
            resume: whether what is kept there counts.
        """
        return

    @abstractmethod
    def loss(self) -> Tensor:
        """Compute the loss of a fresh batch, a number with a gradient."""

    def note(self) -> str:
        """More for a line of the log, about the steps since the last one."""
        return ""

    @abstractmethod
    def make_optimizers(self, masters: dict[str, Tensor]) -> Optimizers:
        """Make the optimizers of these float32 parameters, by their names in `model`."""

    @abstractmethod
    def show(self, average: dict[str, Tensor], folder: Path, step: int) -> None:
        """Show what the moving average can do: figures to the log, samples to the folder."""


Make = Callable[[Any, Path, tuple[int, ...]], Task]
"""Makes a task of config, cache and stream of random numbers; a module's name, for `spawn`."""


def train(name: str, make: Make, config: StageConfig, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` into `cache/name` and return the checkpoint's path."""
    folder = cache / name
    open_run(folder, name, config)
    task = make(config, cache, ())
    path, state = folder / "checkpoint.safetensors", {"step": 0, "spent": 0.0}
    kept: dict[str, Tensor] = {}
    if resume and path.exists():
        kept, state = load_checkpoint(path)
        log.info("resumed at step %d, %.0f s spent", state["step"], state["spent"])
    else:
        task.begin(folder, resume)
    context = torch.multiprocessing.get_context("spawn")
    memory = Memory.of(task.model, context, config.workers)
    if kept:
        for kind, flat in (
            ("model", memory.masters), ("model", memory.weights), ("average", memory.average),
        ):  # fmt: skip
            for key, value in views(flat, task.model).items():
                value.copy_(kept[f"{kind}.{key}"])
    log.info("%.2fM parameters learn", len(memory.masters) / 1e6)
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
    """Train as one of the processes, until worker 0's clock has run out."""
    torch.set_num_threads(1)
    folder, step = cache / name, int(state["step"])
    if rank > 0:
        start_log(folder / f"worker-{rank}", name)
    torch.manual_seed((config.seed << 8) + rank + 1000 * step)
    task = make(config, cache, (rank, step))
    worker = Worker(rank, memory, task.model, task.make_optimizers)
    kept = folder / f"optimizer-{rank}.safetensors"
    if step and kept.exists():
        worker.optimizers.restore(load_checkpoint(kept)[0])
    clock = Clock(config.minutes, float(state["spent"]))
    saved, losses, done = clock.spent, [], False
    while not done:
        loss = task.loss()
        torch.autograd.backward(loss)
        losses.append(loss.item())
        if rank == 0:
            progress = clock.progress
            due = clock.spent - saved > config.checkpoint_minutes * 60
            share = cosine(progress, config.warmup)
            memory.signals.copy_(torch.tensor([share, due, progress >= 1]))
        worker.wait()
        share, due, last = memory.signals.tolist()
        done = bool(last)
        step += 1
        worker.step(share, ema_decay(step, config.ema_power))
        if rank == 0 and (step % config.log_steps == 0 or done):
            mean, note = sum(losses) / len(losses), task.note()
            log.info("step %d rate %.2f loss %.4f, %.0f s %s", step, share, mean, clock.spent, note)
            losses.clear()
        if due or done:
            saved = clock.spent
            if rank == 0:
                average = views(memory.average, task.model)
                tensors = prefixed("model", views(memory.masters, task.model))
                tensors |= prefixed("average", average)
                spent = {"step": step, "spent": saved}
                save_checkpoint(folder / "checkpoint.safetensors", tensors, spent)
                task.show(average, folder, step)
            save_checkpoint(kept, worker.optimizers.tensors(), {"step": step})
            worker.wait()


def load_average(path: Path) -> dict[str, Tensor]:
    """The moving average in a stage's checkpoint, by the names in its task's model."""
    return unprefixed(load_checkpoint(path)[0], "average")
