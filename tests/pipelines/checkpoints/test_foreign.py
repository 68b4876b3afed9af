"""Files of families that are not here are never called one that is; wrapped names are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from accelerate import init_empty_weights
from safetensors.torch import save_file

from pipelines.checkpoints.catalog import find, locate
from pipelines.checkpoints.single_file import published_configs
from pipelines.checkpoints.single_file_catalog import recognise_file
from pipelines.checkpoints.single_file_loader import empty_module
from pipelines.errors import ModelUnavailable
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm, tiny, tiny_families

pytestmark = pytest.mark.usefixtures("one_thread")
Shapes = dict[str, tuple[int, ...]]


def made(cls: str, library: Any = diffusers, **options: Any) -> Shapes:
    """Names and shapes of a real class."""
    with init_empty_weights():
        if library is transformers:
            kind = getattr(transformers, cls)
            module = kind(kind.config_class(**options))
        else:
            module = getattr(diffusers, cls)(**options)
    return {name: tuple(one.shape) for name, one in module.state_dict().items()}


def renamed(shapes: Shapes, prefix: str) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


SMALL: dict[str, Any] = {"block_out_channels": (8, 8), "norm_num_groups": 4}
FOREIGN_VAES: dict[str, Any] = {
    "Wan": lambda: made("AutoencoderKLWan", base_dim=8, z_dim=16),
    "Qwen-Image": lambda: made("AutoencoderKLQwenImage", base_dim=8, z_dim=16),
    "HunyuanVideo": lambda: made("AutoencoderKLHunyuanVideo", **SMALL, down_block_types=(
        "HunyuanVideoDownBlock3D",) * 2, up_block_types=("HunyuanVideoUpBlock3D",) * 2),
    "LTX": lambda: made("AutoencoderKLLTXVideo"),
    "Mochi": lambda: made("AutoencoderKLMochi"),
    "Cosmos": lambda: made("AutoencoderKLCosmos"),
    "CogVideoX": lambda: made("AutoencoderKLCogVideoX"),
    "DC-AE": lambda: made("AutoencoderDC", latent_channels=16),
    "Kandinsky's MoVQ": lambda: made("VQModel", norm_type="spatial", latent_channels=4,
                                     norm_num_groups=4, block_out_channels=(32,)),
    "VQ-GAN": lambda: made("VQModel", latent_channels=4, norm_num_groups=4,
                           block_out_channels=(32,)),
    "TAESD": lambda: made("AutoencoderTiny"),
    "TAESD decoder": lambda: {"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)},
    "Video Diffusion": lambda: made("AutoencoderKLTemporalDecoder", block_out_channels=(32,)),
    "asymmetric": lambda: made("AsymmetricAutoencoderKL", down_block_out_channels=(32,),
                               up_block_out_channels=(32,)),
    "consistency": lambda: made("ConsistencyDecoderVAE", encoder_block_out_channels=(32,),
                                encoder_down_block_types=("DownEncoderBlock2D",)),
    "Stable Cascade": lambda: {"in_block.1.weight": (4, 12, 1, 1), "up_blocks.0.0.weight": (4, 4)},
    "CogView 4": lambda: made("AutoencoderKL", latent_channels=16, block_out_channels=(
        128, 512, 1024, 1024), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4),
    "with one layer more": lambda: {**ldm_vae(), "decoder.up.0.attn.0.q.weight": (8, 8, 1, 1)},
}  # fmt: skip


def ldm_vae() -> Shapes:
    return {n: tuple(t.shape) for n, t in ldm.vae(tiny.vae().state_dict(), 3).items()}


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
@pytest.mark.parametrize("kind", FOREIGN_VAES)
def test_foreign_vaes(tmp_path: Path, kind: str, prefix: str) -> None:
    file = ldm.write_header(tmp_path / "x.safetensors", renamed(FOREIGN_VAES[kind](), prefix))
    with pytest.raises(ModelUnavailable) as raised:
        recognise_file(file)
    assert "which is not supported" in str(raised.value) or "no model that" in str(raised.value)


def language(cls: str, **options: Any) -> Shapes:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 99,
             "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}  # fmt: skip
    return made(cls, transformers, **{**sizes, **options})


CLIP_SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
              "num_attention_heads": 2}  # fmt: skip
T5_SIZES: dict[str, Any] = {
    "d_model": 4096, "d_kv": 64, "d_ff": 64, "num_layers": 2, "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
FOREIGN_ENCODERS: dict[str, Any] = {
    "UMT5": lambda: made("UMT5EncoderModel", transformers, **T5_SIZES, vocab_size=256384),
    "of T5": lambda: made("T5EncoderModel", transformers, **{**T5_SIZES, "d_model": 1024},
                          vocab_size=32128),
    "whole T5": lambda: made("T5ForConditionalGeneration", transformers, **T5_SIZES,
                             vocab_size=32128),
    "Gemma": lambda: language("Gemma2ForCausalLM"),
    "language model": lambda: language("LlamaForCausalLM"),
    "Qwen": lambda: language("Qwen2ForCausalLM"),
    "ChatGLM": lambda: {
        "encoder.layers.0.self_attention.query_key_value.weight": (12, 4),
        "embedding.word_embeddings.weight": (65024, 4096),
    },
    "vision tower": lambda: made("CLIPVisionModelWithProjection", transformers, **CLIP_SIZES),
    "whole CLIP": lambda: made("CLIPModel", transformers),
    "other words": lambda: made("CLIPTextModel", transformers, **CLIP_SIZES, vocab_size=250002),
    "BERT": lambda: made("BertModel", transformers, **CLIP_SIZES),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("kind", FOREIGN_ENCODERS)
def test_foreign_encoders(tmp_path: Path, kind: str, prefix: str) -> None:
    file = ldm.write_header(tmp_path / "x.safetensors", renamed(FOREIGN_ENCODERS[kind](), prefix))
    with pytest.raises(ModelUnavailable, match="which is not supported"):
        recognise_file(file)


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        (lambda: made("CLIPTextModel", transformers, hidden_size=768, num_hidden_layers=1), "sd1"),
        (lambda: made("CLIPTextModelWithProjection", transformers, hidden_size=1280,
                      num_hidden_layers=1, num_attention_heads=20), "sdxl"),
        (lambda: made("T5EncoderModel", transformers, **T5_SIZES, vocab_size=32128), "flux-dev"),
    ],
)  # fmt: skip
def test_our_encoders_are_named_and_are_no_models(tmp_path: Path, shapes: Any, family: str) -> None:
    ldm.write_header(tmp_path / "x.safetensors", shapes())
    found = recognise_file(tmp_path / "x.safetensors")
    assert found.kind == "encoder" and family in found.families
    (info,) = find([tmp_path])
    assert info.problem and "no model by itself but a text encoder" in info.problem


def unet_of(family: str, **changed: Any) -> Shapes:
    config = {**published_configs(family)["unet"], **changed}
    module = empty_module(diffusers.UNet2DConditionModel, config)
    return {name: tuple(one.shape) for name, one in module.state_dict().items()}


FOREIGN_DENOISERS: dict[str, Any] = {
    "Kolors": lambda: {**unet_of("sdxl"), "encoder_hid_proj.weight": (2048, 4096)},
    "Video Diffusion": lambda: {
        **unet_of("sdxl"), "down_blocks.0.attentions.0.time_mixer.mix_factor": (1,),
    },
    "AnimateDiff": lambda: {
        **unet_of("sd1"), "down_blocks.0.motion_modules.0.temporal_transformer.norm.bias": (320,),
    },
    "unknown": lambda: unet_of("sdxl", cross_attention_dim=1024),
    "reads texts": lambda: unet_of("sd1", cross_attention_dim=1024),
    "PixArt": lambda: {"adaln_single.emb.timestep_embedder.linear_1.bias": (8,)},
    "Mochi": lambda: {"t5_yproj.weight": (8, 8)},
    "HunyuanDiT": lambda: {"mlp_t5.0.weight": (8, 8)},
    "Qwen": lambda: {"transformer_blocks.0.img_mlp.net.0.proj.weight": (8, 8),
                     "transformer_blocks.0.attn.add_q_proj.weight": (8, 8)},
    "Wan": lambda: {"head.modulation": (1, 2, 8)},
    "Cascade": lambda: {"clip_txt_mapper.weight": (8, 8)},
    "HiDream": lambda: {"double_stream_blocks.0.block.adaLN_modulation.1.bias": (8,)},
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "module.", "net.", "unet."])
@pytest.mark.parametrize("kind", FOREIGN_DENOISERS)
def test_foreign_denoisers(tmp_path: Path, kind: str, prefix: str) -> None:
    shapes = renamed(FOREIGN_DENOISERS[kind](), prefix)
    file = ldm.write_header(tmp_path / "x.safetensors", shapes)
    with pytest.raises(ModelUnavailable, match="which is not supported") as raised:
        recognise_file(file)
    assert kind in str(raised.value)


WRAPPED = ["module.", "_orig_mod.", "model._orig_mod.", "unet._orig_mod.", "module.unet.",
           "model.diffusion_model._orig_mod.", "model.diffusion_model.model.diffusion_model.",
           "state_dict.model.diffusion_model.", "network.", "denoiser."]  # fmt: skip


@pytest.mark.parametrize("prefix", WRAPPED)
@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_wrapped_unets_are_read(tmp_path: Path, prefix: str, layout: str) -> None:
    pipe = tiny.sd()
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    state = pipe.unet.state_dict()
    names = ldm.unet(state, 1) if layout == "original" else state
    save_file(ldm.under(prefix, names), tmp_path / "one.safetensors")
    with PipelineManager([tmp_path], device="cpu").use("one.safetensors") as model:
        loaded = model.components["unet"].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("family", ["sd3", "flux"])
@pytest.mark.parametrize("prefix", ["net.", "module.", "model.", "transformer._orig_mod."])
def test_wrapped_transformers_are_read(tmp_path: Path, family: str, prefix: str) -> None:
    pipe = getattr(tiny_families, family)()
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    state = pipe.transformer.state_dict()
    save_file(ldm.under(prefix, state), tmp_path / "one.safetensors")
    assert locate("one.safetensors", [tmp_path]).source == "denoiser"
    with PipelineManager([tmp_path], device="cpu").use("one.safetensors") as model:
        loaded = model.components["transformer"].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "state_dict.", "module.module."])
@pytest.mark.parametrize("second", [False, True])
def test_wrapped_checkpoints_are_read(tmp_path: Path, prefix: str, second: bool) -> None:
    pipe = tiny.sd()
    if second:
        pipe.unet = tiny.unet(use_linear_projection=True)
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    state = ldm.sd_checkpoint(pipe, second=second)
    save_file(ldm.under(prefix, state), tmp_path / "one-512.safetensors")
    assert locate("one-512.safetensors", [tmp_path]).source == "checkpoint"
    with PipelineManager([tmp_path], device="cpu").use("one-512.safetensors") as model:
        for part in ("unet", "vae", "text_encoder"):
            loaded = model.components[part].state_dict()
            wanted = getattr(pipe, part).state_dict()
            assert all(
                torch.equal(loaded[name], tensor)
                for name, tensor in wanted.items()
                if not (second and ".layers.1." in name) and "position_ids" not in name
            ), part


@pytest.mark.parametrize("prefix", ["module.", "net.", "_orig_mod."])
def test_wrapped_vaes_and_controlnets_are_named(tmp_path: Path, prefix: str) -> None:
    ldm.write_header(tmp_path / "vae.safetensors", renamed(ldm_vae(), prefix))
    assert recognise_file(tmp_path / "vae.safetensors").kind == "vae"
    with init_empty_weights():
        net = diffusers.ControlNetModel.from_unet(tiny.unet())
    shapes = {name: tuple(one.shape) for name, one in net.state_dict().items()}
    ldm.write_header(tmp_path / "net.safetensors", renamed(shapes, prefix))
    assert recognise_file(tmp_path / "net.safetensors").kind == "controlnet"
