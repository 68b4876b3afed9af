"""The original names of Stable Diffusion's tensors: the way back from diffusers' conversions."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_VAE_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
_OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def unet(state: Mapping[str, Tensor], layers: int) -> State:
    """A UNet's tensors under CompVis' names; `layers`: its config's layers_per_block."""
    attending = {tuple(n.split(".")[:2]) for n in state if ".attentions." in n}
    return {_unet_name(name, layers, attending): tensor for name, tensor in state.items()}


def _unet_name(name: str, layers: int, attending: set[tuple[str, ...]]) -> str:
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    block, rest = name.split(".", 1)
    if block == "mid_block":
        kind, index, rest = rest.split(".", 2)
        place = 1 if kind == "attentions" else 2 * int(index)
        return f"middle_block.{place}.{_resnet(rest) if kind == 'resnets' else rest}"
    number, kind, index, rest = rest.split(".", 3)
    down = block == "down_blocks"
    first = int(number) * (layers + 1)
    if kind in ("downsamplers", "upsamplers"):
        place = 1 + first + layers if down else first + layers
        if down:
            return f"input_blocks.{place}.0.op.{rest.removeprefix('conv.')}"
        return f"output_blocks.{place}.{1 + ((block, number) in attending)}.{rest}"
    place = first + int(index) + down
    part = f"{'input' if down else 'output'}_blocks.{place}"
    return f"{part}.0.{_resnet(rest)}" if kind == "resnets" else f"{part}.1.{rest}"


def _resnet(rest: str) -> str:
    module, _, ending = rest.rpartition(".")
    return f"{_RESNET[module]}.{ending}"


def vae(state: Mapping[str, Tensor], levels: int) -> State:
    """A VAE's tensors under CompVis' names; its attention is made of 1 × 1 convolutions."""
    made = {}
    for name, tensor in state.items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        parts = new.split(".")
        if parts[1] == "down_blocks" or parts[1] == "up_blocks":
            level = int(parts[2])
            side, level = ("down", level) if parts[1][0] == "d" else ("up", levels - 1 - level)
            if parts[3] == "resnets":
                new = ".".join([parts[0], side, str(level), "block", *parts[4:]])
            else:
                new = ".".join([parts[0], side, str(level), f"{side}sample", *parts[5:]])
        elif parts[1] == "mid_block" and parts[2] == "resnets":
            new = ".".join([parts[0], "mid", f"block_{int(parts[3]) + 1}", *parts[4:]])
        elif parts[1] == "mid_block":
            module = ".".join(parts[4:-1])
            new = f"{parts[0]}.mid.attn_1.{_VAE_ATTENTION[module]}.{parts[-1]}"
            if module != "group_norm" and parts[-1] == "weight":
                tensor = tensor[..., None, None]
        made[new] = tensor
    return made


def clip(state: Mapping[str, Tensor]) -> State:
    """A CLIP text encoder's tensors as old transformers named and kept them."""
    named = {
        n if n.startswith("text_projection") else f"text_model.{n.removeprefix('text_model.')}": t
        for n, t in state.items()
    }
    length = named["text_model.embeddings.position_embedding.weight"].shape[0]
    return {**named, "text_model.embeddings.position_ids": torch.arange(length)[None]}


def open_clip(state: Mapping[str, Tensor]) -> State:
    """A CLIP text encoder's tensors under OpenCLIP's names: queries, keys, values in one."""
    bare = {n.removeprefix("text_model."): t for n, t in state.items()}
    made = {
        "positional_embedding": bare.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": bare.pop("embeddings.token_embedding.weight"),
        "ln_final.weight": bare.pop("final_layer_norm.weight"),
        "ln_final.bias": bare.pop("final_layer_norm.bias"),
        "logit_scale": torch.tensor(4.6),
    }
    if (projection := bare.pop("text_projection.weight", None)) is not None:
        made["text_projection"] = projection.T.contiguous()
    for name, tensor in bare.items():
        layer, rest = name.removeprefix("encoder.layers.").split(".", 1)
        block = f"transformer.resblocks.{layer}"
        if rest.startswith("self_attn.q_proj"):
            ending = rest.rpartition(".")[2]
            three = [bare[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            made[f"{block}.attn.in_proj_{ending}"] = torch.cat(three)
        elif "k_proj" not in rest and "v_proj" not in rest:
            module, _, ending = rest.rpartition(".")
            made[f"{block}.{_OPEN_CLIP[module]}.{ending}"] = tensor
    return made


_SD3 = {
    "pos_embed.pos_embed": "pos_embed", "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear", "norm_out.linear": "final_layer.adaLN_modulation.1",
}  # fmt: skip
_SD3_BLOCK = {
    "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
}  # fmt: skip


def sd3(state: Mapping[str, Tensor], layers: int) -> State:
    """An SD 3 transformer's tensors under Stability AI's names: shift before scale, QKV in one."""
    made = {}
    for name, tensor in state.items():
        module, _, ending = name.rpartition(".")
        last = f"transformer_blocks.{layers - 1}.norm1_context.linear"
        if module in (last, "norm_out.linear"):
            tensor = torch.cat(tensor.chunk(2)[::-1])
        if not name.startswith("transformer_blocks."):
            new = _SD3.get(name) or f"{_SD3.get(module, module)}.{ending}"
            made[new] = tensor
            continue
        _, layer, rest = module.split(".", 2)
        block = f"joint_blocks.{layer}"
        if rest in _SD3_BLOCK:
            made[f"{block}.{_SD3_BLOCK[rest]}.{ending}"] = tensor
        elif rest in ("attn.to_q", "attn.add_q_proj"):
            three = [state[name.replace("_q", f"_{x}")] for x in "qkv"]
            side = "x_block" if rest == "attn.to_q" else "context_block"
            made[f"{block}.{side}.attn.qkv.{ending}"] = torch.cat(three)
    return made


_FLUX = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "context_embedder": "txt_in", "x_embedder": "img_in",
    "proj_out": "final_layer.linear", "norm_out.linear": "final_layer.adaLN_modulation.1",
}  # fmt: skip
_FLUX_BLOCK = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
    "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
    "norm.linear": "modulation.lin", "proj_out": "linear2",
}  # fmt: skip


def flux(state: Mapping[str, Tensor]) -> State:
    """A FLUX transformer's tensors under Black Forest Labs' names: queries, keys, values in one."""
    made = {}
    for name, tensor in state.items():
        module, _, ending = name.rpartition(".")
        if "transformer_blocks." not in name:
            if module == "norm_out.linear":
                tensor = torch.cat(tensor.chunk(2)[::-1])
            made[f"{_FLUX[module]}.{ending}"] = tensor
            continue
        kind, layer, rest = module.split(".", 2)
        single = kind.startswith("single")
        block = f"{'single' if single else 'double'}_blocks.{layer}"
        if rest in ("attn.to_q", "attn.add_q_proj"):
            parts = [state[name.replace("_q", f"_{x}")] for x in "qkv"]
            if single:
                parts.append(state[name.replace("attn.to_q", "proj_mlp")])
            side = "img_attn.qkv" if rest == "attn.to_q" else "txt_attn.qkv"
            made[f"{block}.{'linear1' if single else side}.{ending}"] = torch.cat(parts)
        elif rest in _FLUX_BLOCK:
            new = _FLUX_BLOCK[rest]
            new = new.replace("img_attn.norm", "norm") if single else new
            made[f"{block}.{new}.{'scale' if 'norm.' in new else ending}"] = tensor
    return made


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The same with names that begin so, each tensor with memory of its own."""
    return {prefix + name: tensor.detach().clone() for name, tensor in state.items()}


def sd_checkpoint(pipe: Any, *, second: bool = False) -> State:
    """A whole SD 1 checkpoint of a pipeline; `second`: an SD 2 one."""
    encoder = pipe.text_encoder.state_dict()
    text = (
        under("cond_stage_model.model.", open_clip(encoder))
        if second
        else under("cond_stage_model.transformer.", clip(encoder))
    )
    return {**denoiser(pipe), **text, **first_stage(pipe), "betas": torch.zeros(4)}


def sdxl_checkpoint(pipe: Any) -> State:
    """A whole SDXL checkpoint of a pipeline."""
    one, two = pipe.text_encoder.state_dict(), pipe.text_encoder_2.state_dict()
    return {
        **denoiser(pipe),
        **under("conditioner.embedders.0.transformer.", clip(one)),
        **under("conditioner.embedders.1.model.", open_clip(two)),
        **first_stage(pipe),
    }


def denoiser(pipe: Any) -> State:
    layers = pipe.unet.config.layers_per_block
    return under("model.diffusion_model.", unet(pipe.unet.state_dict(), layers))


def first_stage(pipe: Any) -> State:
    levels = len(pipe.vae.config.block_out_channels)
    return under("first_stage_model.", vae(pipe.vae.state_dict(), levels))


def write_header(
    path: Path,
    shapes: Mapping[str, Iterable[int]],
    dtype: str = "F16",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A file with a header of these tensors and no data: for what reads headers alone."""
    rows: dict[str, Any] = {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    if metadata:
        rows["__metadata__"] = dict(metadata)
    header = json.dumps(rows).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path
