"""A single file is told apart by names and shapes, in every family's layouts, without its data."""

from __future__ import annotations

import json
import struct
import time

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file

from pipelines.checkpoints.single_file_catalog import recognise_file
from pipelines.errors import ModelUnavailable
from tests.helpers import ldm, tiny

# ---- layouts made of small models of each family


def sd3_original(shapes_of):
    """Stability AI's names of what diffusers names otherwise; one is enough for each question."""
    state = {"pos_embed": (1, 1024, 32), "x_embedder.proj.weight": (32, 4, 2, 2)}
    for block in range(2):
        for side in ("x_block", "context_block"):
            state[f"joint_blocks.{block}.{side}.attn.qkv.weight"] = (96, 32)
            for norm in "qk" if "norms" in shapes_of else "":
                state[f"joint_blocks.{block}.{side}.attn.ln_{norm}.weight"] = (8,)
        if "second" in shapes_of:
            state[f"joint_blocks.{block}.x_block.attn2.qkv.weight"] = (96, 32)
    return state


def flux_original(guided, width=64):
    state = {
        "img_in.weight": (3072, width),
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "single_blocks.0.linear1.weight": (21504, 3072),
    }
    return {**state, "guidance_in.in_layer.weight": (3072, 256)} if guided else state


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def prefixed(prefix, names):
    return {prefix + name: shape for name, shape in names.items()}


def sd3_transformer(**options):
    import diffusers

    return diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
        attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
        joint_attention_dim=32, pooled_projection_dim=32, pos_embed_max_size=32, **options,
    )  # fmt: skip


def flux_transformer(guided):
    import diffusers

    return diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8), guidance_embeds=guided,
    )  # fmt: skip


XL = {
    "cross_attention_dim": 32, "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8, "transformer_layers_per_block": (1, 1),
    "projection_class_embeddings_input_dim": 64,
}  # fmt: skip
REFINER = {
    **XL, "layers_per_block": 2, "block_out_channels": (8, 8, 16, 16),
    "transformer_layers_per_block": 1,
    "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
}  # fmt: skip
UNETS = {"sd1": {}, "sd2": {"use_linear_projection": True}, "sdxl": XL, "sdxl-refiner": REFINER}
ENCODERS = {
    "sd1": ["cond_stage_model.transformer.text_model.x"],
    "sd2": ["cond_stage_model.model.ln_final.weight"],
    "sdxl": ["conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.x"],
    "sdxl-refiner": ["conditioner.embedders.0.model.x"],
}
LDM, VAE = "model.diffusion_model.", {"first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}
CLIPS = {f"text_encoders.{name}.transformer.x": (4,) for name in ("clip_l", "clip_g", "t5xxl")}


def unet_shapes(family, layout):
    with init_empty_weights():
        state = tiny.unet(**UNETS[family]).state_dict()
    layers = UNETS[family].get("layers_per_block", 1)
    state = ldm.unet(state, layers) if layout == "original" else state
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def models():
    """Every family in every layout: name, shapes, and kind, family, layout, missing parts."""
    for family in UNETS:
        texts = dict.fromkeys(ENCODERS[family], (4,))
        old, new = unet_shapes(family, "original"), unet_shapes(family, "diffusers")
        whole = {**prefixed(LDM, old), **texts, **VAE}
        yield f"{family} whole", whole, ("checkpoint", family, "original", 0)
        lacks = len(ENCODERS[family])
        yield f"{family} untexted", {**prefixed(LDM, old), **VAE}, (
            "checkpoint", family, "original", lacks,
        )  # fmt: skip
        yield f"{family} bare", old, ("denoiser", family, "original", lacks + 1)
        yield f"{family} diffusers", new, ("denoiser", family, "diffusers", lacks + 1)
        parts = {**prefixed("unet.", new), "vae.decoder.conv_in.weight": (8, 4, 3, 3)}
        yield f"{family} in parts", parts, ("checkpoint", family, "diffusers", lacks)
    for family, marks in (
        ("sd3-medium", ()), ("sd3.5-medium", ("norms", "second")), ("sd3.5-large", ("norms",)),
    ):  # fmt: skip
        old = prefixed(LDM, sd3_original(marks))
        yield f"{family} whole", {**old, **CLIPS, **VAE}, ("checkpoint", family, "original", 0)
        yield f"{family} alone", old, ("denoiser", family, "original", 4)
        options = {"qk_norm": "rms_norm"} if "norms" in marks else {}
        options |= {"dual_attention_layers": (0,)} if "second" in marks else {}
        new = shapes(sd3_transformer(**options))
        yield f"{family} diffusers", new, ("denoiser", family, "diffusers", 4)
    for family, guided in (("flux-dev", True), ("flux-schnell", False)):
        old = flux_original(guided)
        yield f"{family} alone", old, ("denoiser", family, "original", 3)
        whole = {**prefixed(LDM, old), **CLIPS, **VAE}
        yield f"{family} whole", whole, ("checkpoint", family, "original", 0)
        new = shapes(flux_transformer(guided))
        yield f"{family} diffusers", new, ("denoiser", family, "diffusers", 3)


MODELS = {name: (names, expected) for name, names, expected in models()}


@pytest.mark.parametrize("name", MODELS)
def test_models(tmp_path, name):
    names, expected = MODELS[name]
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names))
    assert (found.kind, found.family, found.layout, len(found.missing)) == expected
    assert found.precision == "float16" and found.variant == ""


KOHYA, PEFT = ("lora_down.weight", "lora_up.weight"), ("lora_A.weight", "lora_B.weight")
OLD = ("lora.down.weight", "lora.up.weight")
CROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"


def pair(name, endings, width):
    return {f"{name}.{endings[0]}": (4, width), f"{name}.{endings[1]}": (320, 4)}


FLUX, SD3 = ("flux-dev", "flux-schnell"), ("sd3-medium", "sd3.5-medium", "sd3.5-large")
CROSS_K = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
LORAS = {
    "kohya sd1": (pair(f"lora_unet_{CROSS}.to_k".replace(".", "_"), KOHYA, 768), ("sd1",), "kohya"),
    "kohya sd2": (pair(CROSS_K, KOHYA, 1024), ("sd2",), "kohya"),
    "kohya sdxl": (pair(CROSS_K, KOHYA, 2048), ("sdxl",), "kohya"),
    "kohya sdxl text": (
        pair("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", KOHYA, 1280),
        ("sdxl",), "kohya",
    ),
    "kohya sd1 text": (
        pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", KOHYA, 768),
        ("sd1",), "kohya",
    ),
    "kohya sdxl deep": (
        pair("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", KOHYA, 640),
        ("sdxl",), "kohya",
    ),
    "kohya flux": (pair("lora_unet_double_blocks_0_img_attn_qkv", KOHYA, 3072), FLUX, "kohya"),
    "kohya sd3": (pair("lora_unet_joint_blocks_0_x_block_attn_qkv", KOHYA, 1536), SD3[:2], "kohya"),
    "peft sd1": (pair(f"unet.{CROSS}.to_k", PEFT, 768), ("sd1",), "peft"),
    "peft sdxl": (pair(f"unet.{CROSS}.to_v", PEFT, 2048), ("sdxl",), "peft"),
    "peft saved": (pair(f"base_model.model.{CROSS}.to_k", PEFT, 768), ("sd1",), "peft"),
    "old sd1": (pair(f"unet.{CROSS}.processor.to_k_lora", OLD, 768), ("sd1",), "diffusers"),
    "peft flux": (
        pair("transformer.single_transformer_blocks.0.attn.to_q", PEFT, 3072), FLUX, "peft"
    ),
    "peft flux joint": (
        pair("transformer.transformer_blocks.0.attn.to_q", PEFT, 3072), FLUX, "peft"
    ),
    "peft sd3.5": (
        pair("transformer.transformer_blocks.0.attn.to_q", PEFT, 2432), SD3[2:], "peft"
    ),
    "xlabs flux": (
        pair("double_blocks.0.processor.qkv_lora1", ("down.weight", "up.weight"), 3072),
        FLUX, "diffusers",
    ),
    "loha": ({"lora_unet_x.hada_w1_a": (320, 4)}, (), "lycoris"),
    "of nobody": (pair("something.to_q", PEFT, 99), (), "peft"),
}  # fmt: skip


@pytest.mark.parametrize("name", LORAS)
def test_loras(tmp_path, name):
    names, families, layout = LORAS[name]
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names))
    assert (found.kind, found.families, found.layout) == ("lora", families, layout)


def control_original(prefix, family):
    names = {n: s for n, s in unet_shapes(family, "original").items() if "output" not in n}
    return prefixed(prefix, {**names, "input_hint_block.0.weight": (16, 3, 3, 3)})


def control_diffusers(family):
    import diffusers

    with init_empty_weights():
        return shapes(diffusers.ControlNetModel.from_unet(tiny.unet(**UNETS[family])))


CONTROLNETS = {
    "sd1": (control_original("control_model.", "sd1"), ("sd1",), "original"),
    "sd2 bare": (control_original("", "sd2"), ("sd2",), "original"),
    "sd1 diffusers": (control_diffusers("sd1"), ("sd1",), "diffusers"),
    "sdxl diffusers": (control_diffusers("sdxl"), ("sdxl",), "diffusers"),
    "sd3": (
        {"controlnet_blocks.0.weight": (1536, 1536), "pos_embed_input.proj.weight": (1536, 17)},
        SD3[:2], "diffusers",
    ),
    "flux": ({"controlnet_x_embedder.weight": (3072, 64)}, FLUX, "diffusers"),
    "flux xlabs": (
        {"input_hint_block.0.weight": (16, 3, 3, 3), "double_blocks.0.img_attn.qkv.weight": (6, 2)},
        FLUX, "original",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTROLNETS)
def test_controlnets(tmp_path, name):
    names, families, layout = CONTROLNETS[name]
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names))
    assert (found.kind, found.families, found.layout) == ("controlnet", families, layout)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
def test_vaes(tmp_path, layout, prefix):
    state = tiny.vae().state_dict()
    state = ldm.vae(state, 3) if layout == "original" else state
    names = prefixed(prefix, {n: tuple(t.shape) for n, t in state.items()})
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names, "F32"))
    assert (found.kind, found.layout, found.precision) == ("vae", layout, "float32")
    assert found.families == ("sd1", "sd2", "sdxl", "sdxl-refiner")
    names[f"{prefix}decoder.conv_in.weight"] = (8, 16, 3, 3)
    found = recognise_file(ldm.write_header(tmp_path / "y.safetensors", names))
    assert set(found.families) == {*SD3, *FLUX}


@pytest.mark.parametrize(
    ("names", "families"),
    [
        ({"emb_params": (2, 768)}, ("sd1",)),
        ({"emb_params": (1, 1024)}, ("sd2",)),
        ({"<cat-toy>": (768,)}, ("sd1",)),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, ("sdxl",)),
    ],
)
def test_textual_inversions(tmp_path, names, families):
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names))
    assert (found.kind, found.families) == ("embedding", families)


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}, "inpainting"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 5, 3, 3)}, "depth"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 8, 3, 3)}, "instruct"),
        ({"model.diffusion_model.time_embedding.cond_proj.weight": (320, 256)}, "lcm"),
    ],
)
def test_variants(tmp_path, names, variant):
    names = {**prefixed(LDM, unet_shapes("sd1", "original")), **names}
    found = recognise_file(ldm.write_header(tmp_path / "x.safetensors", names))
    assert (found.family, found.variant) == ("sd1", variant)


def test_flux_variants(tmp_path):
    for width, variant in ((64, ""), (384, "fill"), (128, "control")):
        file = tmp_path / f"{width}.safetensors"
        assert recognise_file(ldm.write_header(file, flux_original(True, width))).variant == variant


@pytest.mark.parametrize(
    ("names", "metadata", "prediction"),
    [
        ({}, {}, ""),
        ({"v_pred": ()}, {}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({}, {"ss_v_parameterization": "True"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "banana"}, ""),
        ({}, {"modelspec.prediction_type": "v_prediction"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "V-Prediction"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "v prediction"}, "v_prediction"),
        ({}, {"modelspec.prediction_type": "eps"}, "epsilon"),
        ({}, {"modelspec.prediction_type": "Epsilon-Prediction"}, "epsilon"),
    ],
)
def test_what_a_file_says_it_predicts(tmp_path, names, metadata, prediction):
    names = {**prefixed(LDM, unet_shapes("sd2", "original")), **names}
    file = ldm.write_header(tmp_path / "x.safetensors", names, metadata=metadata)
    assert recognise_file(file).prediction == prediction


def test_mixed_precision_and_the_sentence(tmp_path):
    state = {LDM + n: torch.zeros(s) for n, s in unet_shapes("sd1", "original").items()}
    for i, name in enumerate(state):
        state[name] = state[name].to(torch.bfloat16 if i % 3 else torch.float8_e4m3fn)
    save_file(state, tmp_path / "x.safetensors")
    found = recognise_file(tmp_path / "x.safetensors")
    assert set(found.precision.split(" + ")) == {"float8_e4m3", "bfloat16"}
    assert found.sentence == (
        f"SD 1.x denoiser alone (original layout, {found.precision}), without text encoder, vae"
    )


ALL_NAMES = {
    name
    for names in (
        *(row[0] for row in MODELS.values()),
        *(row[0] for row in LORAS.values()),
        *(row[0] for row in CONTROLNETS.values()),
    )
    for name in names
}

# ---- refusals


def started(names):
    """A whole header whose tensors are not there, or were cut off."""

    def write(path):
        rows = {
            n: {"dtype": "F16", "shape": [1 << 20], "data_offsets": [i << 21, (i + 1) << 21]}
            for i, n in enumerate(names)
        }
        header = json.dumps(rows).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 1000)

    return write


def huge(path):
    """A header that claims 60 MB and is there, but is no JSON."""
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 60 << 20))
        file.truncate(70 << 20)


REFUSED = {
    "empty": (lambda p: p.write_bytes(b""), "cut short (0 bytes)"),
    "text": (lambda p: p.write_text("hello, world, I am a model"), "not a safetensors file"),
    "pickle": (lambda p: p.write_bytes(b"\x80\x04\x95" + b"x" * 999), "not a safetensors file"),
    "zip pickle": (lambda p: p.write_bytes(b"PK\x03\x04" + b"\0" * 999), "not a safetensors"),
    "gguf": (lambda p: p.write_bytes(b"GGUF\x03\0\0\0" + b"\0" * 999), "not a safetensors"),
    "cut data": (started([f"t{i}" for i in range(2000)]), "is damaged: it has"),
    "header over the limit": (
        lambda p: p.write_bytes(struct.pack("<Q", 1 << 40) + b"{" * 999), "not a safetensors file",
    ),
    "header no JSON": (huge, "bad header"),
    "no tensors": (lambda p: ldm.write_header(p, {}), "its 0 tensors"),
    "other tensors": (
        lambda p: ldm.write_header(p, {"bert.pooler.weight": (8, 8)}), "such as 'bert.pooler",
    ),
    "chroma": (
        lambda p: ldm.write_header(p, {
            **flux_original(False), "distilled_guidance_layer.in_proj.bias": (5120,),
        }),
        "a Chroma model, which is not supported",
    ),
    "unconditional": (
        lambda p: ldm.write_header(p, {
            "conv_in.weight": (8, 3, 3, 3), "time_embedding.linear_1.weight": (8, 8),
        }),
        "no model that is known here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_file_and_take_less_than_a_tenth_of_a_second(tmp_path, name):
    write, words = REFUSED[name]
    file = tmp_path / "bad.safetensors"
    write(file)
    # The best of three: what else runs on the machine is not the reader's doing.
    seconds = []
    for _ in range(3):
        file.touch()  # no answer from before
        began = time.perf_counter()
        with pytest.raises(ModelUnavailable) as error:
            recognise_file(file)
        seconds.append(time.perf_counter() - began)
    assert words in str(error.value) and str(file) in str(error.value)
    assert min(seconds) < 0.1


def test_no_tensor_is_read(tmp_path):
    """Ten gigabytes that are not on the disk are recognised in a moment."""
    names = prefixed(LDM, unet_shapes("sd1", "original"))
    rows, offset = {}, 0
    for name, shape in names.items():
        size = 10_000_000_000 // len(names)
        row = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        rows[name], offset = row, offset + size
    header = json.dumps(rows).encode()
    file = tmp_path / "big.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + offset)
    assert file.stat().st_size > 9_900_000_000 and file.stat().st_blocks < 10_000
    began = time.perf_counter()
    assert recognise_file(file).family == "sd1"
    assert time.perf_counter() - began < 0.5
