"""Single-file model: plans its configs, and where what the file lacks comes from.

A single file holds no settings and no tokenizer. The settings of the published models ship in
`configs/`; a model of other sizes takes those of its donor. The donor is a diffusers folder that
gives what the file lacks: first the folder with the file's own name beside it, which need not be
a whole model, then the first usable model of the same pipeline. It must speak the same vocabulary:
its token embedding has the shape of the file's, or its network reads text of the same width.

A GGUF file holds a denoiser of FLUX or SD 3 alone, its large layers in fewer bits.

Nothing here reads a tensor or imports torch; `single_file_loader` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.checkpoints.formats.gguf_header import GGUF
from pipelines.checkpoints.identification.denoiser import DISTILLED, Shapes
from pipelines.checkpoints.identification.identify import PUBLISHED, Identification
from pipelines.checkpoints.identification.leftovers import is_leftover, unread
from pipelines.checkpoints.identification.unet_blocks import with_blocks_of
from pipelines.checkpoints.single_file_scheduler import scheduler_config
from pipelines.devices.quantization import QUANTIZE_INSTALL
from pipelines.errors import ModelUnavailable

_CONFIGS = Path(__file__).parent / "configs"
_DENOISERS = ("unet", "transformer")
_FIRST = (
    "input_blocks.0.0.weight", "conv_in.weight", "img_in.weight", "x_embedder.weight",
    "x_embedder.proj.weight", "pos_embed.proj.weight",
)  # fmt: skip
"""A denoiser's first layer, by layout and family; its outputs are as many as it is wide."""
_TEXT = ("txt_in.weight", "context_embedder.weight", "attn2.to_k.weight")
"""What reads the text; transformers first, because theirs may have an attn2 as well."""


@dataclass(frozen=True, slots=True)
class SingleFile:
    """Single-file model: holds what a folder has in `model_index.json` and its config files.

    Attributes:
        index: component to library and class, as in `model_index.json`.
        configs: of components and of the scheduler.
        donated: components that come from elsewhere, and the folder of each.
    """

    path: Path
    found: Identification
    index: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]
    donated: Mapping[str, Path]

    @property
    def packed(self) -> bool:
        """Whether its linear layers stay in the blocks that the file has them in."""
        return self.path.suffix.lower() == GGUF

    def prefixes(self, part: str) -> tuple[str, ...]:
        """List how the names of a component's tensors may begin."""
        if part in _DENOISERS:
            return (self.found.prefix,)
        outer = self.found.outer
        if self.found.layout == "diffusers":
            return (f"{outer}{part}.",)
        return tuple(outer + prefix for prefix in PUBLISHED[self.found.family].parts[part])

    def names(self, part: str, names: Iterable[str]) -> list[str]:
        """Select those of the file's tensors that are of a component."""
        prefixes = self.prefixes(part)
        outer = self.found.outer
        return [
            n for n in names if n.startswith(prefixes) and not is_leftover(n.removeprefix(outer))
        ]


@dataclass(frozen=True, slots=True)
class Donor:
    """Donor folder: may give what a single file lacks.

    Attributes:
        pipeline: its class; empty for parts that name none.
        widths: shape of each text encoder's token embedding.
        configs: its components' and its scheduler's.
    """

    path: Path
    pipeline: str
    widths: Mapping[str, tuple[int, ...]]
    configs: Mapping[str, Mapping[str, Any]]

    def has(self, part: str) -> bool:
        return (self.path / part).is_dir()


def plan(path: Path, found: Identification, shapes: Shapes, donors: Sequence[Donor]) -> SingleFile:
    """Plan how an identified file becomes a model.

    Args:
        donors: the first that fits gives what the file lacks.
    Raises: ModelUnavailable: if it is no model, or if something is missing that nothing gives.
    """
    _check_runnable(path, found)
    index = published_configs(found.family)["model_index"]
    pipeline = str(index["_class_name"])
    lacking = [name for name in index if name.startswith("tokenizer") or name in found.missing]
    fitting = [
        donor
        for donor in donors
        if donor.pipeline in ("", pipeline) and _speaks(found, shapes, donor)
    ]
    configs = with_blocks_of(_configs(path, found, shapes, fitting), shapes, path, found)
    donor = _giver(fitting, lacking)
    optional = found.spec.optional
    if donor is None and not optional.isdisjoint(found.missing):
        lacking = [name for name in lacking if name not in optional]
        index = {**index, **{name: [None, None] for name in optional}}
        donor = _giver(fitting, lacking)
    if donor is None:
        absent = [name for name in lacking if not any(d.has(name) for d in fitting)]
        raise ModelUnavailable(_wanted(path, found, absent or lacking, pipeline))
    given = {name: donor.configs[name] for name in lacking if name in donor.configs}
    planned = SingleFile(
        path=path,
        found=found,
        index=index,
        configs={
            **configs,
            **given,
            "scheduler": scheduler_config(path, found, configs["scheduler"]),
        },
        donated={name: donor.path / name for name in lacking},
    )
    _check_all_read(planned, shapes)
    return planned


def _check_all_read(source: SingleFile, shapes: Shapes) -> None:
    """Raises: ModelUnavailable: if the file has tensors that nothing would read."""
    found = source.found
    own = [found.spec.denoiser, *PUBLISHED[found.family].parts.keys() - set(found.missing)]
    prefixes = [prefix for part in own for prefix in source.prefixes(part)]
    if left := unread(shapes, tuple(prefixes), found.outer):
        raise ModelUnavailable(
            f"{source.path} has {len(left)} tensors that nothing reads, such as {min(left)!r}; "
            "without them it would draw something else"
        )


def _giver(donors: Sequence[Donor], lacking: Sequence[str]) -> Donor | None:
    return next((d for d in donors if all(d.has(name) for name in lacking)), None)


def token_shape(shapes: Shapes, prefixes: tuple[str, ...] = ("",)) -> tuple[int, ...]:
    """Find the shape of a text encoder's token embedding, (words, width); () if it has none."""
    for name, shape in shapes.items():
        if name.startswith(prefixes) and name.endswith(("token_embedding.weight", "shared.weight")):
            return shape
    return ()


def _check_runnable(path: Path, found: Identification) -> None:
    if found.kind not in ("checkpoint", "denoiser"):
        raise ModelUnavailable(f"{path} is no model by itself but a {found.sentence}")
    if not (_CONFIGS / found.family).is_dir():
        raise ModelUnavailable(f"{path} is a {PUBLISHED[found.family].label}, which no family runs")
    if found.variant and not found.variant.startswith(DISTILLED):
        raise ModelUnavailable(
            f"{path} is a {found.variant} model, which cannot be loaded from a single file"
        )
    if found.noise_levels:
        raise ModelUnavailable(
            f"{path} was trained on {found.noise_levels}, which no family runs; take the folder of "
            "another model"
        )
    if found.unread_form:
        raise ModelUnavailable(
            f"{path} is quantised ({found.unread_form}), which cannot be read from a single file; "
            "take the float16, bfloat16, plain float8 or scaled float8 file"
        )
    if path.suffix.lower() == GGUF:
        _check_gguf(path, found)


def _check_gguf(path: Path, found: Identification) -> None:
    if found.kind != "denoiser" or not found.spec.gguf:
        raise ModelUnavailable(
            f"{path} is a {found.sentence}; of GGUF files only denoisers of FLUX and SD 3 are "
            "read; take the safetensors file"
        )
    if find_spec("gguf") is None:
        raise ModelUnavailable(
            f"{path} needs the package gguf, which is not installed; {QUANTIZE_INSTALL}"
        )


def _configs(
    path: Path, found: Identification, shapes: Shapes, donors: Sequence[Donor]
) -> Mapping[str, Mapping[str, Any]]:
    """The configs that fit the file's sizes: those of the published model, or a donor's."""
    shipped = published_configs(found.family)
    measured = _measured(found, shapes)
    denoiser = next(name for name in _DENOISERS if name in shipped)
    if _widths(shipped[denoiser]) == measured:
        return shipped
    for donor in donors:
        whole = shipped.keys() - {"model_index", *found.spec.optional} <= donor.configs.keys()
        if whole and _widths(donor.configs[denoiser]) == measured:
            return donor.configs
    raise ModelUnavailable(
        f"{path} has not the sizes of a published {PUBLISHED[found.family].label} model, so its "
        "configs must come from a diffusers folder of the same sizes and vocabulary: put one into "
        f"the models folder, or its parts into {path.with_suffix('')}"
    )


def _speaks(found: Identification, shapes: Shapes, donor: Donor) -> bool:
    """Whether donor and file mean the same words."""
    for part, prefixes in PUBLISHED[found.family].parts.items():
        if part == "vae" or part in found.missing:
            continue
        given = prefixes if found.layout == "original" else (f"{part}.",)
        given = tuple(found.outer + prefix for prefix in given)
        # A donor of tokenizers alone has no text encoder that could contradict.
        theirs = donor.widths.get(part)
        if theirs is not None and theirs != token_shape(shapes, given):
            return False
    config = next((donor.configs[n] for n in _DENOISERS if n in donor.configs), None)
    return config is None or _widths(config)[1] == _measured(found, shapes)[1]


def _widths(config: Mapping[str, Any]) -> tuple[int, int]:
    """A denoiser's own width and that of the text it reads, from its config; 0 where unsaid.

    Both -1, which fits nothing, where the config holds no numbers.
    """
    try:
        return _said_widths(config)
    except (TypeError, ValueError, LookupError, ArithmeticError):
        return -1, -1


def _said_widths(config: Mapping[str, Any]) -> tuple[int, int]:
    if "block_out_channels" in config:
        return int(config["block_out_channels"][0]), int(config.get("cross_attention_dim") or 0)
    heads = int(config.get("num_attention_heads") or 0)
    width = heads * int(config.get("attention_head_dim") or 0)
    return width, int(config.get("joint_attention_dim") or 0)


def _measured(found: Identification, shapes: Shapes) -> tuple[int, int]:
    """The same two, from the shapes in the file; loading checks all the others."""
    first = next((shapes[found.prefix + n] for n in _FIRST if found.prefix + n in shapes), ())
    text = next(
        (
            shape
            for ending in _TEXT
            for name, shape in shapes.items()
            if name.startswith(found.prefix) and name.endswith(ending)
        ),
        (),
    )
    if not first or not text:
        return -1, -1  # incomplete: of no model's sizes
    return first[0], text[-1]


def _wanted(path: Path, found: Identification, absent: Sequence[str], pipeline: str) -> str:
    one = len(absent) == 1
    return (
        f"{path} has no {', '.join(absent)}, and no model here gives "
        f"{'it' if one else 'them'}; put a diffusers folder of {PUBLISHED[found.family].label} "
        f"({pipeline}) into the models folder, or {'this part' if one else 'these parts'} of one "
        f"into {path.with_suffix('')}"
    )


@cache
def published_configs(family: str) -> Mapping[str, Mapping[str, Any]]:
    """Read the configs of a published model, by component, with `model_index` and `scheduler`.

    Args:
        family: a key of `identify.PUBLISHED`.
    """
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted((_CONFIGS / family).glob("*.json"))
    }
