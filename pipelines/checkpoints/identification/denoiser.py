"""Denoiser identification: tells a network's architecture from names and shapes of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]
"""Names of tensors and their shapes."""

Found = tuple[tuple[str, ...], str, str]
"""Possible families, layout, and how the names of its tensors begin."""

PREFIXES = (
    "model.diffusion_model.", "unet.", "transformer.",
    "model.diffusion_model.model.diffusion_model.", "model.diffusion_model.diffusion_model.",
    "diffusion_model.", "model.", "net.", "",
)  # fmt: skip
"""What may stand before the names of a denoiser's tensors, as trainers and mergers write them."""

FLUX = ("flux-dev", "flux-schnell")
SD3 = ("sd3-medium", "sd3.5-medium", "sd3.5-large")
DENOISER_MARKS = (
    "input_blocks.0.0.weight", "time_embedding.linear_1.weight",
    "joint_blocks.0.x_block.attn.qkv.weight", "double_blocks.0.img_attn.qkv.weight",
    "transformer_blocks.0.attn.add_q_proj.weight",
)  # fmt: skip
"""A tensor that each of the families' denoisers has, by layout."""
_WRAPPERS = re.compile(
    r"(?:(?:model|diffusion_model|unet|transformer|net|network|module|_orig_mod|denoiser|backbone"
    r"|base_model|state_dict)\.)*"
)


class Unknown(Exception):
    """Unknown model: names the one that tensors are of, where no family runs it."""


def has(shapes: Shapes, prefix: str) -> bool:
    """Tell whether any name begins so."""
    return any(name.startswith(prefix) for name in shapes)


def prefixes(shapes: Shapes, marks: tuple[str, ...] = DENOISER_MARKS) -> list[str]:
    """List what may stand before a denoiser's names: the usual, then what stands before marks.

    Programs that save wrapped modules put their words before, once or several times.
    """
    before = {
        name.removesuffix(mark)
        for name in shapes
        if name.endswith(marks)
        for mark in marks
        if name.endswith(mark)
    }
    more = sorted(one for one in before - {*PREFIXES} if _WRAPPERS.fullmatch(one))
    return [*PREFIXES, *more]


def denoiser(shapes: Shapes) -> Found | None:
    """Identify the family of a UNet or a transformer."""
    for prefix in prefixes(shapes):
        layout = unet_layout(shapes, prefix)
        family = unet_family(shapes, prefix) if layout else transformer_family(shapes, prefix)
        if family is not None:
            return family
    return None


def unet_layout(shapes: Shapes, prefix: str) -> str:
    """Tell a UNet's layout, original or diffusers; "" if these are not the tensors of one."""
    if f"{prefix}input_blocks.0.0.weight" in shapes:
        return "original"
    if f"{prefix}conv_in.weight" in shapes and f"{prefix}time_embedding.linear_1.weight" in shapes:
        return "diffusers"
    return ""


def unet_family(shapes: Shapes, prefix: str) -> Found | None:
    """Identify the family of a UNet, or of a ControlNet that copies one.

    SDXL embeds pooled text and sizes; of its two, the refiner has four levels. SD 2 projects
    into attention by matrices where SD 1 convolves. Widths only decide between equals, so small
    models of the same make are told apart as well.
    """
    layout = unet_layout(shapes, prefix)
    key = "attn2.to_k.weight"
    context = next((s[-1] for n, s in shapes.items() if s and _under(n, prefix, key)), 0)
    if not layout or not context:
        return None
    if {f"{prefix}label_emb.0.0.weight", f"{prefix}add_embedding.linear_1.weight"} & shapes.keys():
        fourth = "input_blocks.9." if layout == "original" else "down_blocks.3."
        refiner = context == 1280 or has(shapes, prefix + fourth)
        return (("sdxl-refiner" if refiner else "sdxl",), layout, prefix)
    projection = next((s for n, s in shapes.items() if _under(n, prefix, "proj_in.weight")), ())
    return (("sd2" if len(projection) == 2 else "sd1",), layout, prefix)


def unet_variant(shapes: Shapes, prefix: str) -> str:
    """Tell what sets a denoiser apart from the plain one of its family; "" for the plain one."""
    for name in ("input_blocks.0.0.weight", "conv_in.weight"):
        if len(first := shapes.get(prefix + name, ())) > 1:
            kinds = {4: "", 5: "depth", 7: "upscaling", 8: "instruct", 9: "inpainting"}
            plain = kinds.get(first[1], f"{first[1]}-channel")
            if not plain and first[0] == _XL_WIDTH and _is_pruned_xl(shapes, prefix):
                return f"{DISTILLED} (SSD-1B, Vega or Koala)"
            if f"{prefix}time_embedding.cond_proj.weight" in shapes:
                return plain or "lcm"
            pruned = not plain and first[0] == _SD_WIDTH and _is_pruned(shapes, prefix)
            return f"{DISTILLED} (BK-SDM)" if pruned else plain
    for name in ("img_in.weight", "x_embedder.weight"):
        # Tiny models of the same make are narrower: only the wide, published ones are named.
        if len(first := shapes.get(prefix + name, ())) > 1:
            return {384: "fill", 128: "control"}.get(first[1], "")
    return ""


DISTILLED = "distilled"
"""How the variants begin that are a published network with blocks taken out."""
_XL_WIDTH = _SD_WIDTH = 320
_DEEPEST = ("input_blocks.11.0.", "down_blocks.3.resnets.1.")
"""The innermost layer of SD's U-Net, in both layouts."""
_XL_DEEPEST = (
    ("input_blocks.8.1", "middle_block.1"),
    ("down_blocks.2.attentions.1", "mid_block.attentions.0"),
)
"""The innermost attentions of SDXL's U-Net, of ten blocks each, in both layouts."""


def _is_pruned_xl(shapes: Shapes, prefix: str) -> bool:
    """Whether a U-Net of SDXL's width lacks blocks that SDXL has.

    Source: Segmind's SSD-1B and Vega, and Koala (arXiv:2312.04005), which remove inner ones.
    """
    if not {f"{prefix}label_emb.0.0.weight", f"{prefix}add_embedding.linear_1.weight"} & {*shapes}:
        return False
    deepest = _XL_DEEPEST[unet_layout(shapes, prefix) == "diffusers"]
    return not all(has(shapes, f"{prefix}{one}.transformer_blocks.9.") for one in deepest)


def _is_pruned(shapes: Shapes, prefix: str) -> bool:
    """Whether a U-Net of SD's width lacks layers that SD has (BK-SDM, arXiv:2305.15798)."""
    if {f"{prefix}label_emb.0.0.weight", f"{prefix}add_embedding.linear_1.weight"} & {*shapes}:
        return False
    deepest = _DEEPEST[unet_layout(shapes, prefix) == "diffusers"]
    middle = any(has(shapes, prefix + one) for one in ("middle_block.", "mid_block."))
    return not (middle and has(shapes, prefix + deepest))


def transformer_family(shapes: Shapes, prefix: str) -> Found | None:
    """Identify the family of an SD 3 or FLUX transformer.

    SD 3 has no norms of queries and keys; of SD 3.5, only medium has a second attention.
    FLUX dev, not schnell, embeds a guidance scale.
    """
    first = f"{prefix}joint_blocks.0.x_block."
    if f"{first}attn.qkv.weight" in shapes:
        norms, second = f"{first}attn.ln_q.weight", f"{first}attn2.qkv.weight"
        return ((_sd3(shapes, norms, second),), "original", prefix)
    if f"{prefix}double_blocks.0.img_attn.qkv.weight" in shapes:
        guided = f"{prefix}guidance_in.in_layer.weight" in shapes
        return ((FLUX[not guided],), "original", prefix)
    block = f"{prefix}transformer_blocks.0.attn."
    if f"{block}add_q_proj.weight" not in shapes:
        return None
    if has(shapes, f"{prefix}single_transformer_blocks.0.attn."):
        guided = has(shapes, f"{prefix}time_text_embed.guidance_embedder.")
        return ((FLUX[not guided],), "diffusers", prefix)
    if f"{prefix}pos_embed.proj.weight" in shapes:
        second = f"{prefix}transformer_blocks.0.attn2.to_q.weight"
        return ((_sd3(shapes, f"{block}norm_q.weight", second),), "diffusers", prefix)
    return None


def _sd3(shapes: Shapes, norms: str, second: str) -> str:
    if norms not in shapes:
        return "sd3-medium"
    return "sd3.5-medium" if second in shapes else "sd3.5-large"


def _under(name: str, prefix: str, ending: str) -> bool:
    return name.startswith(prefix) and name.endswith(ending)
