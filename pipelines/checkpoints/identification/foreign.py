"""Foreign models: names those that share tensors' names with ours and are none that runs here.

Sources: comfyanonymous/ComfyUI (`comfy/model_detection.py`, `comfy/sd.py`), diffusers'
    `loaders/single_file_utils.py`, and the classes of diffusers and transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipelines.checkpoints.identification.denoiser import DENOISER_MARKS, Shapes, Unknown, prefixes

_DENOISERS = {
    "distilled_guidance_layer.in_proj.bias": "a Chroma model",
    "single_stream_modulation.lin.weight": "a FLUX.2 model",
    "double_layers.0.attn.w1q.weight": "an AuraFlow model",
    "joint_transformer_blocks.0.attn.add_q_proj.weight": "an AuraFlow model",
    "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias": "a HunyuanVideo model",
    "cap_embedder.0.weight": "a Lumina or Z-Image model",
    "head.modulation": "a Wan model",
    "condition_embedder.text_embedder.linear_1.weight": "a Wan model",
    "patchify_proj.weight": "an LTX-Video model",
    "clip_txt_mapper.weight": "a Stable Cascade model",
    "clip_mapper.weight": "a Stable Cascade model",
    "down_blocks.1.0.channelwise.0.weight": "a Stable Cascade model",
    "t5_yproj.weight": "a Mochi model",
    "blocks.0.attn.qkv_x.weight": "a Mochi model",
    "mlp_t5.0.weight": "a HunyuanDiT model",
    "pooler.positional_embedding": "a HunyuanDiT model",
    "patch_embed.text_proj.weight": "a CogVideoX or CogView model",
    "double_stream_blocks.0.block.adaLN_modulation.1.bias": "a HiDream model",
    "blocks.0.cross_attn.q_linear.weight": "a Sana or PixArt model",
    "transformer_blocks.0.img_mlp.net.0.proj.weight": "a Qwen-Image model",
    "x_embedder.proj.1.weight": "a Cosmos model",
    "transformer.rotary_pos_emb.inv_freq": "a Stable Audio model",
    "adaln_single.emb.timestep_embedder.linear_1.bias": "a PixArt, Sana or LTX-Video model",
    "encoder_hid_proj.weight": "a Kolors or DeepFloyd model",
    "encoder_hid_proj.image_embeds.weight": "a Kandinsky model",
    "add_embedding.image_norm.weight": "a Kandinsky model",
    "encoder_proj.weight": "a DeepFloyd model",
}
"""Marks of denoisers, behind whatever prefix."""
_PARTS = {
    "time_stack.": "a Stable Video Diffusion model",
    "temporal_transformer_blocks.": "a Stable Video Diffusion model",
    "time_mixer.": "a Stable Video Diffusion model",
    "motion_modules.": "an AnimateDiff model",
}
"""Marks of denoisers, anywhere in names."""
_AUTOENCODERS = {
    "taesd_decoder.": "a TAESD", "layers.0.conv.0.weight": "a TAESD",
    "quantize.embedding.": "a VQ autoencoder, as Kandinsky's MoVQ is",
    "vquantizer.codebook.": "Stable Cascade's VQ autoencoder",
    "in_block.1.": "Stable Cascade's VQ autoencoder",
    "spatial_norm.": "a MoVQ autoencoder of Kandinsky",
    "time_conv_out.": "the VAE of Stable Video Diffusion",
    "spatial_res_block.": "the VAE of Stable Video Diffusion",
    "mix_factor": "the VAE of Stable Video Diffusion",
    "condition_encoder.": "an asymmetric VAE for inpainting",
    "residual.0.gamma": "the VAE of Wan or Qwen-Image",
    "stages.0.": "a DC-AE, as Sana's is", "op_list.": "a DC-AE, as Sana's is",
    "project_in.": "a DC-AE, as Sana's is", "conv_out.conv.": "the VAE of a video model",
    "conv_in.conv.": "the VAE of a video model", "unpatcher3d.": "the VAE of Cosmos",
    "last_scale_shift_table": "the VAE of LTX-Video", "running_mean": "the VAE of FLUX.2",
    "embed_image.": "a consistency decoder",
}  # fmt: skip
"""Marks of autoencoders, anywhere in names."""
_ENDS = r"\.(?:weight|bias)"
_RESNET = r"(?:norm1|norm2|conv1|conv2|conv_shortcut|nin_shortcut)"
_KL = re.compile(
    rf"(?:post_)?quant_conv{_ENDS}"
    rf"|(?:encoder|decoder)\.(?:conv_in|conv_out|conv_norm_out|norm_out){_ENDS}"
    rf"|(?:encoder|decoder)\.(?:down|up)_blocks\.\d+\.resnets\.\d+\.{_RESNET}{_ENDS}"
    rf"|(?:encoder|decoder)\.(?:down|up)_blocks\.\d+\.(?:down|up)samplers\.0\.conv{_ENDS}"
    rf"|(?:encoder|decoder)\.mid_block\.resnets\.\d\.{_RESNET}{_ENDS}"
    r"|(?:encoder|decoder)\.mid_block\.attentions\.0\."
    rf"(?:group_norm|to_q|to_k|to_v|to_out\.0|query|key|value|proj_attn){_ENDS}"
    rf"|(?:encoder|decoder)\.(?:down|up)\.\d+\.block\.\d+\.{_RESNET}{_ENDS}"
    rf"|(?:encoder|decoder)\.(?:down|up)\.\d+\.(?:down|up)sample\.conv{_ENDS}"
    rf"|(?:encoder|decoder)\.mid\.block_[12]\.{_RESNET}{_ENDS}"
    rf"|(?:encoder|decoder)\.mid\.attn_1\.(?:norm|q|k|v|proj_out){_ENDS}"
)
"""All names of the autoencoder that SD 1 to 3 and FLUX have, in both layouts."""
_WIDE, _VAE_WIDTH = 64, 512
_TEXTS = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "sdxl-refiner": 1280}
"""How many numbers a text's tokens have for the published U-Nets."""
_FIRST = ("input_blocks.0.0.weight", "conv_in.weight")
_UNET_WIDTH, _TEXT_WIDE = 320, 512


def refuse_denoiser(shapes: Shapes) -> None:
    """Raises: Unknown: for a denoiser that is known by name and not run here."""
    for prefix in prefixes(shapes, (*DENOISER_MARKS, *_DENOISERS)):
        for mark, what in _DENOISERS.items():
            if prefix + mark in shapes:
                raise Unknown(what)
    for name in shapes:
        for part, what in _PARTS.items():
            if f".{part}" in name and ("blocks." in name):
                raise Unknown(what)


def check_unet(family: str, shapes: Shapes, prefix: str) -> None:
    """Check a U-Net of published width against the width of its family's text.

    Raises: Unknown: if it reads texts of another width.
    """
    first = next((s for n in _FIRST if (s := shapes.get(prefix + n))), ())
    # Small networks of the same make are read whatever their widths.
    if not first or first[0] < _UNET_WIDTH or family not in _TEXTS:
        return
    key = "attn2.to_k.weight"
    widths = {s[-1] for n, s in shapes.items() if s and n.startswith(prefix) and n.endswith(key)}
    for width in sorted(widths - {_TEXTS[family]}):
        if width >= _TEXT_WIDE:
            raise Unknown(
                f"unknown: a U-Net that reads texts of {width} numbers, where one of its kind "
                f"reads {_TEXTS[family]}"
            )


def refuse_autoencoder(shapes: Shapes) -> None:
    """Raises: Unknown: for an autoencoder that is known by name and that no family here has."""
    for name in shapes:
        if "coder." not in name and not name.startswith(tuple(_AUTOENCODERS)):
            continue
        for mark, what in _AUTOENCODERS.items():
            if mark in name:
                raise Unknown(what)


def check_vae(shapes: Shapes, prefix: str) -> None:
    """Check that tensors are those of the autoencoder of SD and FLUX, by every name and shape.

    Raises: Unknown: if one is not.
    """
    for name, shape in shapes.items():
        own = name.removeprefix(prefix)
        if name.startswith(prefix) and not (_KL.fullmatch(own) and len(shape) in (1, 2, 4)):
            raise Unknown(f"unknown: a VAE with {name!r} of shape {list(shape)}")
    first = shapes[f"{prefix}decoder.conv_in.weight"][0]
    if first >= _WIDE and first != _VAE_WIDTH:
        raise Unknown(f"unknown: a VAE whose innermost layers have {first} channels")


_ENCODERS: Mapping[str, str] = {
    "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": "a UMT5 text encoder",
    "decoder.block.0.layer.0.SelfAttention.q.weight": "a whole T5",
    "model.layers.0.pre_feedforward_layernorm.weight": "a Gemma text encoder",
    "layers.0.pre_feedforward_layernorm.weight": "a Gemma text encoder",
    "visual.patch_embed.proj.weight": "a Qwen2-VL text encoder",
    "language_model.model.layers.0.self_attn.q_proj.weight": "a LLaVA text encoder",
    "model.layers.0.self_attn.q_proj.weight": "a language model",
    "layers.0.self_attn.q_proj.weight": "a language model",
    "encoder.layers.0.self_attention.query_key_value.weight": "a ChatGLM text encoder",
    "transformer.encoder.layers.0.self_attention.query_key_value.weight": "a ChatGLM text encoder",
    "bert.embeddings.word_embeddings.weight": "a BERT text encoder",
    "embeddings.word_embeddings.weight": "a BERT text encoder",
}
"""Marks of text encoders that no family here has."""
_VISION = ("vision_model.", "visual.transformer.", "visual_projection.")
_T5 = "encoder.block.0.layer.0.SelfAttention.q.weight"
_T5_SHAPE = (32128, 4096)
_CLIPS = {
    768: ("sd1", "sdxl", "sd3-medium", "sd3.5-medium", "sd3.5-large", "flux-dev", "flux-schnell"),
    1024: ("sd2",),
    1280: ("sdxl", "sd3-medium", "sd3.5-medium", "sd3.5-large"),
}
"""Width of a CLIP text encoder, and whose it is."""
_CLIP_WORDS = 49408
_T5_FAMILIES = ("sd3-medium", "sd3.5-medium", "sd3.5-large", "flux-dev", "flux-schnell")


def text_encoder(shapes: Shapes) -> tuple[str, ...] | None:
    """Identify a text encoder alone, and the models that read by it; None if it is none.

    Raises: Unknown: for one that no family here has.
    """
    for mark, what in _ENCODERS.items():
        if mark in shapes:
            raise Unknown(what)
    if any(name.startswith(_VISION) for name in shapes):
        whole = any(name.startswith("text_model.") for name in shapes)
        raise Unknown("a whole CLIP model, with its eye" if whole else "a CLIP vision tower")
    if _T5 in shapes:
        if shapes.get("shared.weight", shapes.get("encoder.embed_tokens.weight")) != _T5_SHAPE:
            raise Unknown("unknown: a T5 text encoder of another size than T5 XXL's")
        return _T5_FAMILIES
    inner = ("encoder.layers.0.self_attn.q_proj.weight", "transformer.resblocks.0.ln_1.weight")
    if not any(f"{start}{one}" in shapes for one in inner for start in ("", "text_model.")):
        return None
    words = next((s for n, s in shapes.items() if n.endswith("token_embedding.weight")), ())
    if len(words) != 2 or words[0] != _CLIP_WORDS or words[1] not in _CLIPS:
        raise Unknown(f"unknown: a CLIP text encoder whose words are {list(words)}")
    return _CLIPS[words[1]]
