"""Random LoRAs for the tests' own models, made by peft and saved by diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from tests.helpers.tiny import sd
from tests.helpers.tiny_families import sdxl

MAKERS: dict[str, Any] = {"tiny": sd, "xl": sdxl}
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "ff.net.0.proj", "proj_in"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"]


def save_lora(
    pipe: Any,
    out: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    alpha: int | None = None,
    text: bool = True,
    layers: list[str] | None = None,
) -> Path:
    """A LoRA whose halves are random, so that every layer changes; `pipe` is left spoilt.

    Args:
        alpha: written into the file; None = as the rank, and not written.
        text: whether the text encoders are changed too.
    """
    torch.manual_seed(seed)
    parts = {"unet" if hasattr(pipe, "unet") else "transformer": layers or LAYERS}
    for name in ("text_encoder", "text_encoder_2"):
        if text and getattr(pipe, name, None) is not None:
            parts[name] = TEXT
    given: dict[str, Any] = {}
    for name, targets in parts.items():
        module = getattr(pipe, name)
        config: Any = LoraConfig(r=rank, lora_alpha=alpha or rank, target_modules=targets)
        inject_adapter_in_model(config, module)
        halves = {key: value for key, value in module.state_dict().items() if ".lora_" in key}
        given[f"{name}_lora_layers"] = {
            key.replace(".default", ""): torch.nn.init.normal_(value, std=0.25)
            for key, value in halves.items()
        }
        if alpha is not None:
            given[f"{name}_lora_adapter_metadata"] = config.to_dict()
    pipe.save_lora_weights(out, safe_serialization=True, **given)
    return out


def load_lora(pipe: Any, file: Path, name: str, scale: float) -> None:
    """Put a LoRA into a diffusers pipeline.

    The denoiser's part is loaded by diffusers. Its loader of text encoders' parts needs a newer
    peft than transformers finds here, so these go through peft itself.
    """
    state, alphas, metadata = pipe.lora_state_dict(
        file.parent, weight_name=file.name, return_lora_metadata=True
    )
    pipe.load_lora_into_unet(state, alphas, pipe.unet, adapter_name=name, metadata=metadata)
    for part in ("text_encoder", "text_encoder_2"):
        mine = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
        if not mine:
            continue
        said = {k.removeprefix(f"{part}."): v for k, v in (metadata or {}).items()}
        down = next(value for key, value in mine.items() if "lora_A" in key)
        module, rank = getattr(pipe, part), down.shape[0]
        alpha = said.get("lora_alpha", rank)
        config: Any = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TEXT)
        inject_adapter_in_model(config, module, adapter_name=name)
        own = dict(module.named_parameters())
        for key, value in mine.items():
            own[key.replace(".weight", f".{name}.weight")].data.copy_(value)
        for layer in module.modules():
            if isinstance(layer, LoraLayer):
                layer.set_scale(name, scale)
                layer.set_adapter([*dict.fromkeys([*layer.active_adapters, name])])


def save_with_loras(folder: Path) -> Path:
    """A tiny SD and a tiny SDXL with two LoRAs each. `…-one` says its alpha, `…-two` does not."""
    for name, make in MAKERS.items():
        make().save_pretrained(folder / name)
        save_lora(make(), folder / f"{name}-one", seed=1, rank=4, alpha=6)
        save_lora(make(), folder / f"{name}-two", seed=2, rank=2, text=False)
    return folder
