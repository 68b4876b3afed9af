"""What every stage needs: a saved Config, a clock, checkpoints without pickles, a log."""

import argparse
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.data.sources import cache_dir

log = logging.getLogger("training")


def start_log(folder: Path, stage: str) -> None:
    """Log to the terminal and to `folder/<stage>.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(folder / f"{stage}.log"),
    ]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )


def stage_parser(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """The command line that every stage has: `minutes`, `cache` and `resume`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser


def save_config(config: Any, folder: Path) -> None:
    """Print a frozen Config and write it to `folder/config.json`."""
    text = json.dumps(dataclasses.asdict(config), indent=2, default=str)
    log.info("config %s", text)
    (folder / "config.json").write_text(text + "\n")


def cosine(progress: float, warmup: float, final: float = 0.01) -> float:
    """The share of the peak learning rate at a share `progress` of the run.

    Linear warm-up to 1, then a cosine down to `final`.

    Args:
        progress: 0..1, the share of the time that is spent.
        warmup: the share that is warm-up.
    """
    if progress < warmup:
        return progress / warmup
    phase = min(1.0, (progress - warmup) / (1 - warmup))
    return final + 0.5 * (1 - final) * (1 + math.cos(math.pi * phase))


class Clock:
    """Seconds of training spent of the minutes given, over all resumed runs together.

    A gap between two looks counts for at most `LONGEST_STEP`: a process that was suspended for a
    while has not trained. With `time.process_time` as `now` only the process's own work counts.
    """

    LONGEST_STEP = 30.0

    def __init__(
        self, minutes: float, spent: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._budget, self._spent, self._seen = minutes * 60, spent, now()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        now = self._now()
        self._spent += min(now - self._seen, self.LONGEST_STEP)
        self._seen = now
        return self._spent

    @property
    def progress(self) -> float:
        """The share of the time that is spent, at most 1."""
        return min(1.0, self.spent / self._budget)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a small JSON state into one safetensors file, replacing it in one step."""
    kept = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    partial = path.with_suffix(".partial")
    save_file(kept, partial, metadata={"state": json.dumps(state)})
    partial.replace(path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that `save_checkpoint` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        state = json.loads(handle.metadata()["state"])
    return load_file(path), state


class Optimizers:
    """Several optimizers that step as one, each with its own peak learning rates.

    Args:
        optimizers: built with the peak rate of each group as its `lr`.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self._all = optimizers
        self._peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]

    def step(self, share: float) -> None:
        """One step of each at `share` of its peak rates; gradients are cleared."""
        for optimizer, peaks in zip(self._all, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Their state as named tensors, for `save_checkpoint`."""
        return {
            f"optimizer.{number}.{index}.{name}": value
            for number, optimizer in enumerate(self._all)
            for index, entry in optimizer.state_dict()["state"].items()
            for name, value in entry.items()
            if isinstance(value, Tensor)
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for number, optimizer in enumerate(self._all):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in part(tensors, f"optimizer.{number}").items():
                index, name = key.split(".", 1)
                state.setdefault(int(index), {})[name] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix.`, without it."""
    dot = prefix + "."
    return {k.removeprefix(dot): v for k, v in tensors.items() if k.startswith(dot)}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}
