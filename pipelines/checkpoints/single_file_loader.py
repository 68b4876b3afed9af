"""Single-file loader: builds a component from its tensors, by diffusers' own conversions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from pipelines.checkpoints.diffusers_folder import weight_shapes
from pipelines.checkpoints.single_file import SingleFile
from pipelines.checkpoints.single_file_state import state_dict
from pipelines.errors import ModelUnavailable, first_line


def load(source: SingleFile, part: str, kind: Any, dtype: Any) -> Any:
    """Load a component of a single file, complete, onto the CPU.

    Raises: ModelUnavailable: if tensors are missing, left over or of other shapes.
    """
    config = source.configs[part]
    model = empty_module(kind, config)
    state = state_dict(source, part, model, config, dtype)
    if source.packed:
        from pipelines.checkpoints.formats import gguf_linear  # it needs the package gguf

        gguf_linear.swap_in_gguf_layers(model, state, dtype, f"{source.path}: its {part}")
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}
    try:
        report = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise ModelUnavailable(
            f"{source.path}: its {part} has not the shapes of {kind.__name__}: "
            f"{first_line(error, title_lines=1)}"
        ) from None
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    empty = [name for name, tensor in model.named_parameters() if tensor.device.type == "meta"]
    if empty:
        raise ModelUnavailable(
            f"{source.path} lacks {len(empty)} tensors of its {part}, such as {min(empty)!r}; "
            "fetch it again"
        )
    if report.unexpected_keys:
        raise ModelUnavailable(
            f"{source.path} has {len(report.unexpected_keys)} tensors in its {part} that a "
            f"{kind.__name__} of these sizes does not have, such as {min(report.unexpected_keys)!r}"
        )
    return model.to(dtype)


def shapes(source: SingleFile, part: str) -> dict[str, tuple[int, ...]]:
    """Read names and shapes that a component's weights have once it is loaded.

    Raises: ModelUnavailable: if it comes from a folder and that is broken.
    """
    if part in source.donated:
        folder = source.donated[part]
        return weight_shapes(folder.parent, folder.name)
    library, kind = source.index[part]
    return _shapes(library, kind, json.dumps(source.configs[part], sort_keys=True))


@lru_cache(maxsize=16)
def _shapes(library: str, kind: str, config: str) -> dict[str, tuple[int, ...]]:
    """By the component's class, which names and cuts the file's tensors in another way."""
    model = empty_module(getattr(import_module(library), kind), json.loads(config))
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def empty_module(kind: Any, config: Mapping[str, Any]) -> Any:
    """Build a module of diffusers or transformers whose parameters have no numbers.

    They stay on the device `meta` until they are assigned: no time goes into random numbers.
    """
    from accelerate import init_empty_weights

    with init_empty_weights():
        if hasattr(kind, "from_config"):  # diffusers
            return kind.from_config(dict(config))
        return kind(kind.config_class.from_dict(dict(config)))
