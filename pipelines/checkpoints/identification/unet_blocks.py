"""U-Net blocks: reads from a file's names and shapes how a U-Net is built, and writes its config.

Networks cut down from a published one (SSD-1B, Vega, Koala, BK-SDM) have fewer layers, attentions
or levels, or no middle. What diffusers' `UNet2DConditionModel` can be told of that is told; what it
cannot is refused by name.

Sources: Segmind's SSD-1B and Vega, Koala (arXiv:2312.04005), BK-SDM (arXiv:2305.15798); the numbers
    that comfyanonymous/ComfyUI knows them by (`comfy/model_detection.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.checkpoints.identification.denoiser import Shapes
from pipelines.checkpoints.identification.identify import Identification
from pipelines.errors import ModelUnavailable

Depths = tuple[tuple[int, ...], ...]
"""By level and by layer: how many transformer blocks follow a residual block; 0 = no attention."""

_DIFFUSERS = re.compile(
    r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)"
    r"(?:\.transformer_blocks\.(\d+))?\."
)
_ORIGINAL = re.compile(
    r"(input_blocks|output_blocks)\.(\d+)\.(\d)(?:\.transformer_blocks\.(\d+))?\."
)
_MIDDLE = re.compile(r"(?:middle_block\.1|mid_block\.attentions\.0)\.transformer_blocks\.(\d+)\.")
_ATTENTION = re.compile(r"(.*\.transformer_blocks\.\d+)\.(attn1|attn2)\.")
_CROSS = "UNetMidBlock2DCrossAttn"


@dataclass(frozen=True, slots=True)
class UNetBlocks:
    """Blocks of a U-Net.

    Attributes:
        down: from the outermost level to the innermost; `up`: from the innermost outwards.
        middle: transformer blocks there; 0 = residual blocks alone, None = nothing.
        widths: channels of each level, from the outermost.
    """

    down: Depths
    up: Depths
    middle: int | None
    widths: tuple[int, ...]


def blocks_of_file(shapes: Shapes, prefix: str, original: bool) -> UNetBlocks:
    """Read the blocks of a U-Net from a file's header."""
    own = {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}
    middle = [int(match[1]) for name in own if (match := _MIDDLE.match(name))]
    there = any(name.startswith(("middle_block.", "mid_block.")) for name in own)
    down, up, widths = (_original if original else _diffusers)(own)
    return UNetBlocks(down, up, max(middle, default=-1) + 1 if there else None, widths)


def blocks_of_config(config: Mapping[str, Any]) -> UNetBlocks:
    """Read the blocks of a U-Net from its config."""
    levels = len(config["block_out_channels"])
    layers = _listed(config.get("layers_per_block", 2), levels)
    deep = _listed(config.get("transformer_layers_per_block", 1), levels)
    rising = config.get("reverse_transformer_layers_per_block") or deep[::-1]
    down = _depths(config["down_block_types"], layers, deep)
    up = _depths(config["up_block_types"], [n + 1 for n in layers[::-1]], rising)
    kind = config.get("mid_block_type", _CROSS)
    last = deep[-1] if isinstance(deep[-1], int) else deep[-1][0]
    middle = {_CROSS: last, None: None}.get(kind, 0)
    return UNetBlocks(down, up, middle, tuple(config["block_out_channels"]))


def fitted_config(
    config: Mapping[str, Any], blocks: UNetBlocks, name: str, original: bool
) -> Mapping[str, Any]:
    """Fit a config to the blocks of a file; as it is if it has them already.

    Args:
        config: of a U-Net of the same family.
        name: the file's, for the error.
        original: whether its layers are counted through all levels, as CompVis did.
    Raises: ModelUnavailable: if no config has such blocks.
    """
    if blocks_of_config(config) == blocks:
        return config
    if why := _inexpressible(blocks, original):
        raise ModelUnavailable(
            f"{name} is a network cut down from another in a way that no config tells: {why}"
        )
    deep: list[Any] = [list(level) if all(level) else 1 for level in blocks.down]
    if not all(blocks.down[-1]) and blocks.middle:
        deep[-1] = blocks.middle
    layers = [len(level) for level in blocks.down]
    heads, widths = config["attention_head_dim"], config["block_out_channels"]
    if not isinstance(heads, int):
        heads = [width // (widths[0] // heads[0]) for width in blocks.widths]
    return {
        **config,
        "block_out_channels": list(blocks.widths),
        "layers_per_block": layers[0] if len(set(layers)) == 1 else layers,
        "down_block_types": [_kind(level, "Down") for level in blocks.down],
        "up_block_types": [_kind(level, "Up") for level in blocks.up],
        "mid_block_type": (
            None if blocks.middle is None else _CROSS if blocks.middle else "UNetMidBlock2D"
        ),
        "transformer_layers_per_block": deep,
        "reverse_transformer_layers_per_block": [
            list(level) if all(level) else 1 for level in blocks.up
        ],
        "attention_head_dim": heads,
    }


def with_blocks_of(
    configs: Mapping[str, Mapping[str, Any]], shapes: Shapes, path: Path, found: Identification
) -> Mapping[str, Mapping[str, Any]]:
    """Fit a model's configs to the blocks of its file, if it has a U-Net.

    Raises: ModelUnavailable: if no config has such blocks.
    """
    if "unet" not in configs:
        return configs
    original = found.layout == "original"
    if bare := _without_self_attention(shapes, found.prefix):
        raise ModelUnavailable(
            f"{path} is a network cut down from another in a way that no config tells: {bare!r} "
            "has no self-attention"
        )
    blocks = blocks_of_file(shapes, found.prefix, original)
    try:
        fitted = fitted_config(configs["unet"], blocks, str(path), original)
    except (KeyError, TypeError, ValueError, IndexError, ArithmeticError):
        return configs  # odd configs of a donor: loading says what does not fit
    return {**configs, "unet": fitted}


def _without_self_attention(shapes: Shapes, prefix: str) -> str:
    """Name a transformer block that has cross-attention alone, as in SDXS; "" for none."""
    blocks: dict[str, set[str]] = {}
    for name in shapes:
        if name.startswith(prefix) and (match := _ATTENTION.match(name)):
            blocks.setdefault(match[1], set()).add(match[2])
    return next((block for block, there in blocks.items() if "attn1" not in there), "")


def _inexpressible(blocks: UNetBlocks, original: bool) -> str:
    layers = [len(level) for level in blocks.down]
    if not layers or not all(layers) or len(blocks.widths) != len(layers):
        return "its levels are not complete"
    if [len(level) for level in blocks.up] != [count + 1 for count in layers[::-1]]:
        return "its way up has not one layer more than its way down, level by level"
    if any(any(level) and not all(level) for level in (*blocks.down, *blocks.up)):
        return "in one level some layers attend and some do not"
    last = blocks.down[-1]
    if blocks.middle and all(last) and blocks.middle != last[0]:
        return "its middle is not as deep as the level before it"
    if original and len(set(layers)) > 1:
        return "its levels have different numbers of layers"
    return ""


def _diffusers(own: Shapes) -> tuple[Depths, Depths, tuple[int, ...]]:
    deep: dict[tuple[str, int, int], int] = {}
    layers: dict[tuple[str, int], set[int]] = {}
    widths: dict[int, int] = {}
    for name, shape in own.items():
        match = _DIFFUSERS.match(name)
        if match is None:
            continue
        side, level, layer = match[1], int(match[2]), int(match[4])
        if match[3] == "resnets":
            layers.setdefault((side, level), set()).add(layer)
        if match[5] is not None:
            place = side, level, layer
            deep[place] = max(deep.get(place, 0), int(match[5]) + 1)
        if side == "down_blocks" and name.endswith("resnets.0.conv1.weight"):
            widths[level] = shape[0]
    down, up = (
        tuple(
            tuple(deep.get((side, level, layer), 0) for layer in sorted(some))
            for (its_side, level), some in sorted(layers.items())
            if its_side == side
        )
        for side in ("down_blocks", "up_blocks")
    )
    return down, up, tuple(widths[level] for level in sorted(widths))


def _original(own: Shapes) -> tuple[Depths, Depths, tuple[int, ...]]:
    """In CompVis' layout layers are counted through, and levels end where sizes change."""
    depths: dict[str, dict[int, int]] = {"input_blocks": {}, "output_blocks": {}}
    for name in own:
        if match := _ORIGINAL.match(name):
            side, number = depths[match[1]], int(match[2])
            deep = 0 if match[4] is None else int(match[4]) + 1
            side[number] = max(side.get(number, 0), deep)
    down: list[list[int]] = [[]]
    widths: list[int] = []
    for number in sorted(depths["input_blocks"]):
        place = f"input_blocks.{number}.0"
        if f"{place}.op.weight" in own:
            down.append([])
        elif first := own.get(f"{place}.in_layers.2.weight"):
            if not down[-1]:
                widths.append(first[0])
            down[-1].append(depths["input_blocks"][number])
    up: list[list[int]] = [[]]
    for number in sorted(depths["output_blocks"]):
        if f"output_blocks.{number}.0.in_layers.2.weight" in own:
            up[-1].append(depths["output_blocks"][number])
        if any(f"output_blocks.{number}.{i}.conv.weight" in own for i in (1, 2)):
            up.append([])
    return tuple(map(tuple, down)), tuple(map(tuple, up)), tuple(widths)


def _depths(kinds: Sequence[str], layers: Sequence[int], deep: Sequence[Any]) -> Depths:
    return tuple(
        tuple(_listed(depth, count)) if "CrossAttn" in kind else (0,) * count
        for kind, count, depth in zip(kinds, layers, deep, strict=True)
    )


def _listed(value: Any, count: int) -> list[Any]:
    return [value] * count if isinstance(value, int) else list(value)


def _kind(level: Sequence[int], way: str) -> str:
    return f"CrossAttn{way}Block2D" if all(level) else f"{way}Block2D"
