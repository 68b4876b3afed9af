"""Single-file loader: builds a component from its tensors, by diffusers' own conversions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints.diffusers_folder import weight_shapes
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.single_file import SingleFile
from pipelines.errors import ModelUnavailable, first_line

if TYPE_CHECKING:
    from torch import Tensor

_UNET = "model.diffusion_model."
_OPEN_CLIP = {
    "cond_stage_model.model.", "conditioner.embedders.0.model.", "conditioner.embedders.1.model.",
}  # fmt: skip


def load(source: SingleFile, part: str, kind: Any, dtype: Any) -> Any:
    """Load a component of a single file, complete, onto the CPU.

    Raises: ModelUnavailable: if tensors are missing, left over or of other shapes.
    """
    config = source.configs[part]
    model = empty_module(kind, config)
    state = _state(source, part, model, config)
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


def _state(
    source: SingleFile, part: str, model: Any, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The component's tensors under the names that diffusers and transformers give them."""
    import torch
    from diffusers.loaders import single_file_utils as convert

    prefixes = source.prefixes(part)
    tensors = _read(source, part)
    prefix = next(p for p in prefixes if all(name.startswith(p) for name in tensors))
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if source.found.layout == "diffusers":
        return _flat(model, bare)
    if part == "unet":
        named = {_UNET + name: tensor for name, tensor in bare.items()}
        return dict(convert.convert_ldm_unet_checkpoint(named, config))
    if part == "transformer":
        converter = source.found.spec.converter
        assert converter is not None, "only families with one ship configs"
        return dict(getattr(convert, converter)(bare))
    if part == "vae":
        return dict(convert.convert_ldm_vae_checkpoint(bare, config))
    if prefix in _OPEN_CLIP:
        bare = dict(convert.convert_open_clip_checkpoint(model, tensors, prefix=prefix))
    if hasattr(model, "text_projection") and "text_projection.weight" not in bare:
        # SD 3's files leave out CLIP L's projection, which changes nothing.
        bare["text_projection.weight"] = torch.eye(model.config.projection_dim)
    return _flat(model, bare)


def _read(source: SingleFile, part: str) -> dict[str, Tensor]:
    """This component's tensors alone; the rest of the file stays on disk."""
    if source.packed:
        from pipelines.checkpoints.formats import gguf_linear  # it needs the package gguf

        rows = read_header(source.path).rows
        return gguf_linear.read(source.path, rows, source.names(part, rows))
    from safetensors import safe_open

    with safe_open(source.path, framework="pt", device="cpu") as file:
        names = source.names(part, file.keys())
        if not names:
            raise ModelUnavailable(f"{source.path} has no {part}")
        return {name: file.get_tensor(name) for name in names}


def _flat(model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what is no weight of this class, and as deep as the class names its tensors.

    Position ids are counted anew; CLIP's projection lies beside FLUX's encoder, which has none.
    Old files keep `text_model.` before the names; transformers 5.6 dropped it from one class.
    """
    deep = hasattr(model, "text_model")
    left = () if hasattr(model, "text_projection") else ("text_projection.",)
    return {
        name if deep else name.removeprefix("text_model."): tensor
        for name, tensor in state.items()
        if not name.endswith("position_ids") and not name.startswith(left)
    }
