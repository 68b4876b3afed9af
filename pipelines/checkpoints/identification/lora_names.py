"""LoRA tensor names: how those of the narrowing halves end, in every layout that is read."""

from __future__ import annotations

LORA_ENDINGS = (
    ".lora_down.weight",  # kohya
    ".lora_A.weight", ".lora_A.default.weight",  # peft, without its adapter's name and with it
    ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",  # diffusers
    "_lora1.down.weight", "_lora2.down.weight",  # XLabs, for the two streams of FLUX
)  # fmt: skip
"""What makes a file a LoRA: identification and the list of LoRAs both go by it."""

LYCORIS_ENDINGS = (".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks")
"""Of LyCORIS' other factors, which no model takes here."""
