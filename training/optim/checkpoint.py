"""Checkpoints without pickles: named tensors and a small JSON state in one safetensors file."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a small JSON state into one safetensors file, replacing it in one step."""
    kept = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    partial = path.with_suffix(".partial")
    save_file(kept, partial, metadata={"state": json.dumps(state)})
    partial.replace(path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the state that `save_checkpoint` wrote."""
    with safe_open(path, framework="pt") as handle:
        state = json.loads(handle.metadata()["state"])
    return load_file(path), state


def unprefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose name starts with `prefix.`, without it."""
    dot = prefix + "."
    return {k.removeprefix(dot): v for k, v in tensors.items() if k.startswith(dot)}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix.` before the name of each tensor."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}
