"""LoRA tensor names: how they end, in every layout and form that is read or refused by name.

Sources: kohya-ss/sd-scripts, huggingface/peft, diffusers' `lora_conversion_utils.py`,
    KohakuBlueleaf/LyCORIS, XLabs-AI/x-flux.
"""

from __future__ import annotations

from collections.abc import Iterable

HALVES = {
    ".lora_down.weight": ".lora_up.weight",  # kohya
    ".lora_A.weight": ".lora_B.weight",  # peft, without its adapter's name and with it
    ".lora_A.default.weight": ".lora_B.default.weight",
    ".lora.down.weight": ".lora.up.weight",  # diffusers
    "_lora.down.weight": "_lora.up.weight",
    ".lora_linear_layer.down.weight": ".lora_linear_layer.up.weight",
    "_lora1.down.weight": "_lora1.up.weight",  # XLabs, for the two streams of FLUX
    "_lora2.down.weight": "_lora2.up.weight",
}
"""Of a low-rank pair: the narrowing half to the widening one."""

LORA_ENDINGS = tuple(HALVES)
"""What makes a file a LoRA: identification and the list of LoRAs both go by it."""

LYCORIS = {
    **dict.fromkeys(
        (".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2"), "LoHa"
    ),
    **dict.fromkeys(
        (".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b",
         ".lokr_t2"),
        "LoKr",
    ),
    ".diff": "full difference",
}  # fmt: skip
"""Factors of other forms that are read, and the form of each."""
TUCKER = ".lora_mid.weight"
"""The core between the halves of a convolution."""

REFUSED = {
    ".dora_scale": "a DoRA", ".lora_magnitude_vector": "a DoRA",
    ".lora_magnitude_vector.weight": "a DoRA", ".lora_magnitude_vector.default.weight": "a DoRA",
    ".oft_blocks": "an OFT", ".oft_diag": "an OFT", ".oft_r": "an OFT",
    ".oft_R.weight": "an OFT", ".oft_R.default.weight": "an OFT",
    ".boft_R": "a BOFT", ".boft_s": "a BOFT", ".boft_blocks": "a BOFT", ".rescale": "a BOFT",
    ".a1.weight": "a GLoRA", ".b1.weight": "a GLoRA", ".on_input": "an IA³",
    ".vera_lambda_b": "a VeRA", ".vera_lambda_d": "a VeRA",
    ".w_norm": "a LoRA that changes norms", ".b_norm": "a LoRA that changes norms",
    ".diff_b": "a LoRA that changes biases", ".lora_B.bias": "a LoRA that changes biases",
    ".lora_up.bias": "a LoRA that changes biases", ".set_weight": "a LoRA that replaces weights",
    ".reshape_weight": "a LoRA that widens layers",
}  # fmt: skip
"""Forms that no model takes here: each needs more than a sum to a weight."""
BUNDLED = "bundle_emb."
"""How names of embeddings begin that a LoRA's file holds beside it."""

LYCORIS_ENDINGS = (*LYCORIS, *REFUSED)


def refused_form(names: Iterable[str]) -> str:
    """Name the form of a LoRA that cannot be applied; "" for one that can."""
    for name in names:
        for ending, form in REFUSED.items():
            if name.endswith(ending):
                return form
    return ""


_WHOLE: dict[str, tuple[frozenset[str], ...]] = {
    "LoHa": (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),),
    "LoKr": tuple(
        frozenset({*one, *two})
        for one in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for two in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    "full difference": (frozenset({"diff"}),),
}
"""Factors that a layer must have, by its form; any of the sets will do."""


def incomplete_layer(names: Iterable[str]) -> str:
    """Name a layer that lacks factors of its LyCORIS form; "" where none does."""
    there: dict[tuple[str, str], set[str]] = {}
    for name in names:
        for ending, form in LYCORIS.items():
            if name.endswith(ending):
                layer = name.removesuffix(ending)
                there.setdefault((layer, form), set()).add(ending[1:])
    for (layer, form), factors in there.items():
        if not any(needed <= factors for needed in _WHOLE[form]):
            return layer
    return ""
