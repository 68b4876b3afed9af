"""Training loop of one process: batches until the clock has run out, checkpoints on the way.

For models that one process trains with all threads: judges, whose batch norms keep running means
that workers do not share, and stages that take up a float32 network. `training.optim.stage` trains
the others with a process a core.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.optim.checkpoint import load_checkpoint, prefixed, save_checkpoint, unprefixed
from training.optim.optimizers import Optimizers
from training.optim.schedule import Clock, RunConfig, cosine

log = logging.getLogger("training")


@dataclass(frozen=True)
class Learner:
    """Model under training with its optimizers, loss and measures.

    Args:
        model: what learns, and nothing else; its state is what a checkpoint holds.
        optimizers: of all its parameters.
        loss: of a fresh batch, from the share of the run that is over; a number with a gradient.
        measure: figures on what is never learnt from, for the log and the checkpoint's state.
        note: more for a line of the log, about the steps since the last one.
        prefix: before each name of the model's state in a checkpoint; none if empty.
        clip: the longest gradient allowed; any if None.
    """

    model: nn.Module
    optimizers: Optimizers
    loss: Callable[[float], Tensor]
    measure: Callable[[], Mapping[str, Any]] = dict
    note: Callable[[], str] = str
    prefix: str = "model"
    clip: float | None = None


@dataclass(frozen=True)
class Start:
    """Starting point of a run: zero, or where a checkpoint stopped.

    Args:
        step: batches learnt from so far.
        spent: seconds of training so far.
        tensors: of the checkpoint that the run goes on from; none where it begins.
        about: what else the checkpoints' state says.
    """

    step: int = 0
    spent: float = 0.0
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def start_of(path: Path, resume: bool, about: Mapping[str, Any] | None = None) -> Start:
    """Read where a run stopped.

    Args:
        about: a checkpoint whose state says something else is of another run, which is not resumed.
    """
    wanted = about or {}
    if resume and path.exists():
        tensors, state = load_checkpoint(path)
        if all(state.get(name) == value for name, value in wanted.items()):
            step, spent = int(state.get("step", 0)), float(state.get("spent", 0.0))
            return Start(step, spent, tensors, wanted)
    return Start(about=wanted)


def train(
    learner: Learner,
    config: RunConfig,
    path: Path | None = None,
    start: Start | None = None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Train for `config.minutes` altogether; a run that was over takes one step more.

    Args:
        path: of the checkpoint; None keeps nothing.
        start: as `start_of` gives it; the model and its optimizers go on from there.
        now: the clock, in seconds.
    """
    start = start or Start()
    if start.tensors:
        restore(learner, start.tensors)
        log.info("resumed at step %d, %.0f s spent", start.step, start.spent)
    parameters = list(learner.model.parameters())
    log.info("%.2fM parameters learn", sum(p.numel() for p in parameters) / 1e6)
    clock, step, done = Clock(config.minutes, start.spent, now), start.step, False
    saved = clock.spent
    while not done:
        loss = learner.loss(clock.progress)
        torch.autograd.backward(loss)
        if learner.clip is not None:
            nn.utils.clip_grad_norm_(parameters, learner.clip)
        learner.optimizers.step(cosine(clock.progress, config.warmup))
        step, done = step + 1, clock.progress >= 1
        if step % config.log_steps == 0 or done:
            note = learner.note()
            log.info("step %d loss %.4f, %.0f s %s", step, loss.item(), clock.spent, note)
        if path is not None and (done or clock.spent - saved > config.checkpoint_minutes * 60):
            saved = clock.spent
            figures = dict(learner.measure())
            if figures:
                log.info("step %d, on what it never met: %s", step, figures)
            state = {"step": step, "spent": saved, **figures, **start.about}
            save_checkpoint(path, tensors_of(learner), state)


def tensors_of(learner: Learner) -> dict[str, Tensor]:
    """The model's and the optimizers' state by name, as a checkpoint holds them."""
    state = learner.model.state_dict()
    own = prefixed(learner.prefix, state) if learner.prefix else state
    return own | learner.optimizers.tensors()


def restore(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `tensors_of` gave."""
    kept = dict(tensors)
    own = unprefixed(kept, learner.prefix) if learner.prefix else without_optimizers(kept)
    learner.model.load_state_dict(own)
    learner.optimizers.restore(kept)


def without_optimizers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors but those of the optimizers."""
    return {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
