"""Add-on identification: tells the family of a LoRA, a ControlNet or a textual inversion."""

from __future__ import annotations

from pipelines.checkpoints.identification.denoiser import FLUX, SD3, Found, Shapes, has, unet_family
from pipelines.checkpoints.identification.lora_names import LORA_ENDINGS, LYCORIS_ENDINGS

_WIDTHS = {768: ("sd1",), 1024: ("sd2",), 2048: ("sdxl",), 1280: ("sdxl-refiner",)}
"""Width of the text that cross attention reads, and whose it is."""
_TRANSFORMERS = {1536: SD3[:2], 2432: SD3[2:], 3072: FLUX}
"""Width of a transformer's blocks, and whose it is."""


_TWO_ENCODERS = ({"clip_l", "clip_g"}, {"text_encoders_0", "text_encoders_1"})
_WORDS = ("emb_params", "string_to_param.*")
"""How AUTOMATIC1111 calls the vectors of a word, also where a pickle of its was converted."""
_TOKENS = "string_to_token"


def lora(shapes: Shapes) -> Found | None:
    """Identify a LoRA and its families; these are empty where nothing in it tells."""
    halves = {n: s for n, s in shapes.items() if n.endswith(LORA_ENDINGS) and s}
    other = [n for n in shapes if n.endswith(LYCORIS_ENDINGS)]
    if not halves and not other:
        return None
    names = {name.replace(".", "_") for name in (*halves, *other)}
    if other and not halves:
        layout = "lycoris"
    elif has(shapes, "lora_"):
        layout = "kohya"
    else:
        layout = "peft" if any(".lora_A." in n for n in halves) else "diffusers"
    return _lora_families(halves, names), layout, ""


def _lora_families(halves: Shapes, names: set[str]) -> tuple[str, ...]:
    """Names tell the transformers apart and, by depth or by encoders, SDXL; widths the rest."""

    def named(*marks: str) -> bool:
        return any(mark in name for name in names for mark in marks)

    if named("double_blocks_", "single_transformer_blocks_", "single_blocks_"):
        return FLUX
    # diffusers names the blocks of SD 3 and of FLUX alike where only joint blocks are trained.
    joint = named("joint_blocks_")
    if joint or any(n.startswith("transformer_transformer_blocks_") for n in names):
        widths = {s[-1] for s in halves.values()} & _TRANSFORMERS.keys()
        if len(widths) == 1:
            return _TRANSFORMERS[widths.pop()]
        return SD3 if joint or named("attn2_to_", "_add_q_proj", "_add_k_proj") else ()
    if any(n.startswith(("lora_te1_", "lora_te2_", "text_encoder_2_")) for n in names):
        return ("sdxl",)
    for name, shape in halves.items():
        if "attn2" in name and ("to_k" in name or "to_v" in name) and shape[-1] in _WIDTHS:
            return _WIDTHS[shape[-1]]
    # Only SDXL stacks several transformer blocks in one attention.
    if named("_transformer_blocks_1_"):
        return ("sdxl",)
    for name, shape in halves.items():
        if name.startswith(("lora_te_", "text_encoder.")) and "q_proj" in name:
            return _WIDTHS.get(shape[-1], ())
    return ()


def controlnet(shapes: Shapes) -> Found | None:
    """Identify a ControlNet and its families."""
    if "controlnet_cond_embedding.conv_in.weight" in shapes:
        return unet_family(shapes, "")
    for prefix in ("control_model.", ""):
        if f"{prefix}input_hint_block.0.weight" in shapes:
            if has(shapes, f"{prefix}double_blocks."):
                return FLUX, "original", prefix
            return unet_family(shapes, prefix)
    if "controlnet_x_embedder.weight" in shapes:
        return FLUX, "diffusers", ""
    first = shapes.get("controlnet_blocks.0.weight")
    if first and has(shapes, "pos_embed_input."):
        return _TRANSFORMERS.get(first[0], SD3), "diffusers", ""
    return None


def embedding(shapes: Shapes) -> Found | None:
    """Identify a textual inversion: one word alone, in one text encoder or in SDXL's two."""
    words = {name: shape for name, shape in shapes.items() if not name.startswith(_TOKENS)}
    if set(words) in _TWO_ENCODERS:
        return ("sdxl",), "original", ""
    if len(words) != 1:
        return None
    name, shape = next(iter(words.items()))
    # More vectors than a prompt has tokens are no word.
    fits = len(shape) in (1, 2) and (len(shape) == 1 or shape[0] <= 77)
    original = name in _WORDS
    named = original or (name[:1] == "<" and name[-1:] == ">")
    if not fits or not (named or shape[-1] in _WIDTHS):
        return None
    layout = "original" if original else "diffusers"
    return _WIDTHS.get(shape[-1], ()), layout, ""
