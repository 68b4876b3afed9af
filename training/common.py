"""What every stage needs: a saved Config, a clock, checkpoints without pickles, a log."""

import dataclasses
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

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


def save_config(config: Any, folder: Path) -> None:
    """Print a frozen Config and write it to `folder/config.json`."""
    text = json.dumps(dataclasses.asdict(config), indent=2, default=str)
    log.info("config %s", text)
    (folder / "config.json").write_text(text + "\n")


def cosine(progress: float, warmup: float, peak: float, final: float = 0.0) -> float:
    """The learning rate at a share `progress` of the run: linear warm-up, then a cosine to `final`.

    Args:
        progress: 0..1, the share of the time that is spent.
        warmup: the share that is warm-up.
    """
    if progress < warmup:
        return peak * progress / warmup
    phase = min(1.0, (progress - warmup) / (1 - warmup))
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * phase))


class Clock:
    """Seconds of training spent of the minutes given, over all resumed runs together."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self._budget = minutes * 60
        self._start = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

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


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, for `save_checkpoint`."""
    return {
        f"optimizer.{index}.{name}": value
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
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
