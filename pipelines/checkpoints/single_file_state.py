"""Single-file state dict: reads a component's tensors and renames them; none is lost unsaid."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints.formats.scaled_weights import multiplied
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.single_file import SingleFile
from pipelines.errors import ModelUnavailable, first_line

if TYPE_CHECKING:
    from torch import Tensor

    Convert = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """From a file's names to those of a component's class."""

_UNET = "model.diffusion_model."
_OPEN_CLIP = {
    "cond_stage_model.model.", "conditioner.embedders.0.model.", "conditioner.embedders.1.model.",
}  # fmt: skip


def state_dict(
    source: SingleFile, part: str, model: Any, config: Mapping[str, Any], dtype: Any
) -> dict[str, Tensor]:
    """Read a component's tensors under the names that diffusers and transformers give them.

    Raises: ModelUnavailable: if the file has tensors of it that nothing reads.
    """
    import torch

    tensors = _read(source, part, dtype)
    prefix = next(p for p in source.prefixes(part) if any(n.startswith(p) for n in tensors))
    convert = _converter(source, part, model, config, prefix)
    state = convert(tensors)
    if left := unread_by(convert, tensors, state):
        raise ModelUnavailable(
            f"{source.path} has {len(left)} tensors in its {part} that nothing reads, such as "
            f"{min(left)!r}; without them it would draw something else"
        )
    # SD 3's files leave out CLIP L's projection, which changes nothing.
    projected = hasattr(model, "text_projection") and "text_projection.weight" not in state
    if projected and source.found.spec.id == "sd3" and part == "text_encoder":
        state["text_projection.weight"] = torch.eye(model.config.projection_dim)
    return state


def _converter(
    source: SingleFile, part: str, model: Any, config: Mapping[str, Any], prefix: str
) -> Convert:
    """What renames and cuts a component's tensors, as they are called in the file."""
    from diffusers.loaders import single_file_utils as convert

    def bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    def unet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        named = {_UNET + name: tensor for name, tensor in bare(tensors).items()}
        return dict(convert.convert_ldm_unet_checkpoint(named, config))

    def open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        state = dict(convert.convert_open_clip_checkpoint(model, dict(tensors), prefix=prefix))
        # Some tools write the matrix as transformers keeps it, beside OpenCLIP's other names.
        turned = f"{prefix}text_projection.weight"
        if turned in tensors:
            state["text_projection.weight"] = tensors[turned]
        return _flat(model, state)

    if source.found.layout == "diffusers":
        return lambda tensors: _flat(model, bare(tensors))
    if part == "unet":
        return unet
    if part == "transformer":
        converter = source.found.spec.converter
        assert converter is not None, "only families with one ship configs"
        return lambda tensors: dict(getattr(convert, converter)(bare(tensors)))
    if part == "vae":
        return lambda tensors: dict(convert.convert_ldm_vae_checkpoint(bare(tensors), config))
    if prefix.removeprefix(source.found.outer) in _OPEN_CLIP:
        return open_clip
    return lambda tensors: _flat(model, bare(tensors))


def unread_by(
    convert: Convert, tensors: Mapping[str, Tensor], made: Mapping[str, Tensor]
) -> list[str]:
    """List tensors that a conversion drops.

    Most conversions keep a tensor's memory under another name. One that is not found so is left
    out of a second conversion, of shapes alone: if that changes nothing, nobody reads it.

    Args:
        made: what it made of all of them.
    """
    starts = sorted(tensor.data_ptr() for tensor in made.values())
    absent = [name for name, tensor in tensors.items() if not _holds(tensor, starts)]
    outlines = {name: tensor.to("meta") for name, tensor in tensors.items()} if absent else {}
    left = []
    for name in absent:
        if _dropped_by_design(name):
            continue
        try:
            without = convert({n: t for n, t in outlines.items() if n != name})
        except Exception:
            continue
        if without.keys() == made.keys():
            left.append(name)
    return left


def _holds(tensor: Tensor, starts: Sequence[int]) -> bool:
    """Whether one of these addresses lies in a tensor's memory."""
    start = tensor.data_ptr()
    after = bisect_left(starts, start)
    return after < len(starts) and starts[after] < start + tensor.numel() * tensor.element_size()


def _dropped_by_design(name: str) -> bool:
    """Whether a text encoder does without a tensor.

    SD 2 reads its encoder's last layer but one, and families that take no pooled text have no
    projection.
    """
    from diffusers.loaders.single_file_utils import SD_2_TEXT_ENCODER_KEYS_TO_IGNORE

    return name in SD_2_TEXT_ENCODER_KEYS_TO_IGNORE or name.endswith(
        ("text_projection", "text_projection.weight")
    )


def _read(source: SingleFile, part: str, dtype: Any) -> dict[str, Tensor]:
    """This component's tensors alone, scales multiplied in; the rest of the file stays on disk."""
    if source.packed:
        from pipelines.checkpoints.formats import gguf_linear  # it needs the package gguf

        rows = read_header(source.path).rows
        return gguf_linear.read(source.path, rows, source.names(part, rows))
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(source.path, framework="pt", device="cpu") as file:
            names = source.names(part, file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelUnavailable(f"{source.path} cannot be read: {first_line(error)[:200]}") from None
    if not tensors:
        raise ModelUnavailable(f"{source.path} has no {part}")
    return multiplied(tensors, dtype, str(source.path))


def _flat(model: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what is no weight of this class, and as deep as the class names its tensors.

    CLIP's projection lies beside FLUX's encoder, which has none. Old files keep `text_model.`
    before the names; transformers 5.6 dropped it from one class.
    """
    deep = hasattr(model, "text_model")
    left = () if hasattr(model, "text_projection") else ("text_projection.",)
    return {
        name if deep else name.removeprefix("text_model."): tensor
        for name, tensor in state.items()
        if not name.startswith(left)
    }
