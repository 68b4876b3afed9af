"""LoRAs of every layout and form against diffusers' converters and peft's merged weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers.loaders
import pytest
import torch
from peft import LoHaConfig, LoKrConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines import ModelUnavailable, Request, Studio
from pipelines.checkpoints.lora_state_dict import deltas, file_misfit
from pipelines.checkpoints.loras import WEIGHTS, find
from pipelines.checkpoints.single_file import published_configs
from pipelines.checkpoints.single_file_loader import empty_module
from pipelines.families import FAMILIES
from pipelines.model_manager.manager import PipelineManager
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd, unet
from tests.parity.test_loras import BASE, apart, latents

pytestmark = pytest.mark.usefixtures("one_thread")
State = dict[str, Tensor]
UNET = {"unet": {"layers_per_block": 1}}

# ---- FLUX in kohya's layout

FLUX = {
    "lora_unet_single_blocks_0_linear1": (21504, 3072),
    "lora_unet_single_blocks_37_linear2": (3072, 15360),
    "lora_unet_single_blocks_1_modulation_lin": (9216, 3072),
    "lora_unet_double_blocks_0_img_attn_qkv": (9216, 3072),
    "lora_unet_double_blocks_18_txt_attn_qkv": (9216, 3072),
    "lora_unet_double_blocks_0_img_attn_proj": (3072, 3072),
    "lora_unet_double_blocks_3_txt_mlp_2": (3072, 12288),
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
    "lora_te1_text_model_encoder_layers_1_mlp_fc1": (3072, 768),
}


def kohya(layers: Mapping[str, tuple[int, int]], rank: int, alpha: float | None) -> State:
    torch.manual_seed(rank)
    state = {}
    for name, (rows, columns) in layers.items():
        state[f"{name}.lora_down.weight"] = torch.randn(rank, columns)
        state[f"{name}.lora_up.weight"] = torch.randn(rows, rank)
        if alpha is not None:
            state[f"{name}.alpha"] = torch.tensor(alpha)
    return state


def flux_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    configs, shapes = published_configs("flux-dev"), {}
    for part in ("transformer", "text_encoder"):
        library, kind = configs["model_index"][part]
        cls = getattr(__import__(library), kind)
        module = empty_module(cls, configs[part])
        shapes[part] = {name: tuple(one.shape) for name, one in module.named_parameters()}
    return shapes


@pytest.mark.parametrize("alpha", [None, 1.0, 8.0, 64.0])
@pytest.mark.parametrize("rank", [1, 3, 4, 12, 16])
def test_flux_loras_of_kohyas_are_applied_as_diffusers_does(
    tmp_path: Path, rank: int, alpha: float | None
) -> None:
    """Ranks that three and four divide as well: there diffusers looks for zeros."""
    state = kohya(FLUX, rank, alpha)
    if rank == 12:  # each of queries, keys, values has a rank of its own
        up = state["lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight"]
        for j in range(3):
            for k in range(3):
                if j != k:
                    up[j * 3072 : (j + 1) * 3072, k * 4 : (k + 1) * 4] = 0
    file = tmp_path / "x.safetensors"
    save_file(state, file)
    spec = FAMILIES["flux"]
    assert file_misfit(file, spec, {}, flux_shapes()) is None
    ours = deltas(file, state, spec, {})
    reader: Any = diffusers.loaders.FluxLoraLoaderMixin
    theirs = reader.lora_state_dict({key: value.clone() for key, value in state.items()})
    pairs = {key.split(".lora")[0]: key for key in theirs if "lora_A" in key or ".down." in key}
    assert len(ours) == len(pairs) == 4 + 3 + 3 + 6
    for (part, module), delta in ours.items():
        names = {"self_attn.q_proj": "self_attn.to_q_lora", ".mlp.fc1": ".mlp.fc1"}
        key = next(
            (k for k in theirs if (("lora_A" in k or ".down." in k)
             and k.startswith(f"{part}.{module}")) or (any(
                 k.startswith(f"{part}.{module.replace(a, b)}") for a, b in names.items()
             ) and ".down." in k)), None,
        )  # fmt: skip
        assert key, (part, module)
        down = theirs[key]
        up = theirs[key.replace("lora_A", "lora_B").replace(".down.", ".up.")]
        wanted = up @ down
        made = delta.factor * delta.matrix("cpu")
        assert (made - wanted).abs().max() <= 1e-5 * wanted.abs().max(), module


def test_what_diffusers_drops_of_a_flux_lora_is_named(tmp_path: Path) -> None:
    """T5's layers and projections; all zeros, as some trainers write them, are nothing."""
    name = "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q"
    for filled in (True, False):
        state = {
            f"diffusion_model.{'double_blocks.0.img_attn.proj'}.lora_down.weight": torch.ones(2, 9),
            f"diffusion_model.{'double_blocks.0.img_attn.proj'}.lora_up.weight": torch.ones(9, 2),
            f"{name}.lora_down.weight": torch.ones(2, 8),
            f"{name}.lora_up.weight": torch.full((8, 2), float(filled)),
        }
        save_file(state, tmp_path / "x.safetensors")
        if filled:
            with pytest.raises(ModelUnavailable, match=f"changes '{name}'"):
                deltas(tmp_path / "x.safetensors", state, FAMILIES["flux"], {})
        else:
            assert len(deltas(tmp_path / "x.safetensors", state, FAMILIES["flux"], {})) == 1


# ---- LyCORIS

LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "conv1", "conv2", "proj_in"]
CONFIGS: dict[str, Any] = {
    "loha": lambda **more: LoHaConfig(r=4, alpha=6, target_modules=LAYERS, **more),
    "lokr": lambda **more: LoKrConfig(r=2, alpha=6, target_modules=LAYERS, **more),
    "lokr, both factored": lambda **more: LoKrConfig(
        r=1, alpha=6, target_modules=LAYERS, decompose_both=True, decompose_factor=4, **more
    ),
}


def adapted(kind: str, effective: bool) -> tuple[Any, State]:
    """A tiny SD whose UNet peft merged an adapter into, and the adapter's factors by module."""
    pipe = sd()
    config = CONFIGS[kind](use_effective_conv2d=effective)
    torch.manual_seed(7)
    inject_adapter_in_model(config, pipe.unet)
    for name, value in pipe.unet.named_parameters():
        if "hada_" in name or "lokr_" in name:
            torch.nn.init.normal_(value, std=0.3)
    factors = {
        name.replace(".default", ""): value.detach().clone()
        for name, value in pipe.unet.named_parameters()
        if "hada_" in name or "lokr_" in name
    }
    for module in pipe.unet.modules():
        if hasattr(module, "merge"):
            module.merge()
    merged = {
        name.replace(".base_layer", ""): value.detach().clone()
        for name, value in pipe.unet.named_parameters()
        if "hada_" not in name and "lokr_" not in name
    }
    pipe.unet = unet()
    pipe.unet.load_state_dict(merged)
    return pipe, factors


def named(factors: State, layout: str, alpha: float) -> State:
    """The same in a layout of files; each layer says its alpha.

    peft scales two whole Kronecker factors too; LyCORIS does not, and in its files they are so.
    """
    made = {}
    for key, value in factors.items():
        if key.endswith("lokr_w1") and key.replace("w1", "w2") in factors:
            value = value * (alpha / 2)
        module, _, factor = key.rpartition(".")
        if layout == "kohya":
            base = f"lora_unet_{module.replace('.', '_')}"
        elif layout == "lycoris":
            base = f"lycoris_{module.replace('.', '_')}"
        else:
            base = {"diffusers": "unet.", "peft": "base_model.model.", "bare": ""}[layout] + module
        made[f"{base}.{factor}"] = value
        made[f"{base}.alpha"] = torch.tensor(alpha)
    return made


@pytest.mark.parametrize("layout", ["kohya", "lycoris", "diffusers", "peft", "bare"])
@pytest.mark.parametrize("effective", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_lycoris_draws_what_the_merged_weights_draw(
    tmp_path: Path, kind: str, effective: bool, layout: str
) -> None:
    pipe, factors = adapted(kind, effective)
    sd().save_pretrained(tmp_path / "tiny")
    pipe.save_pretrained(tmp_path / "merged")
    save_file(named(factors, layout, 6.0), tmp_path / "ink.safetensors")
    assert [info.problem for info in find([tmp_path])] == [None]
    manager = PipelineManager([tmp_path], device="cpu")
    assert manager.library.open("tiny").lora("ink").problem is None
    (ours,) = latents(manager, [BASE.replace(loras=["ink"])])
    plain, merged = latents(manager, [BASE])[0], latents(manager, [BASE.replace(model="merged")])[0]
    assert apart(ours, merged) <= 1e-4
    assert apart(ours, plain) > 1e-2, "without effect it proves nothing"


def test_lycoris_makes_the_picture_of_the_merged_weights(tmp_path: Path) -> None:
    pipe, factors = adapted("lokr", False)
    sd().save_pretrained(tmp_path / "tiny")
    pipe.save_pretrained(tmp_path / "merged")
    save_file(named(factors, "kohya", 6.0), tmp_path / "ink.safetensors")
    studio = Studio(tmp_path, device="cpu")
    request = Request(model="tiny", prompt="an apple", steps=3, width=32, height=32)
    ours = studio.image(request.replace(loras=["ink"]))
    assert ours.tobytes() == studio.image(request.replace(model="merged")).tobytes()
    studio.close()


def test_cores_and_whole_differences(tmp_path: Path) -> None:
    torch.manual_seed(0)
    up, mid, down = torch.randn(8, 2, 1, 1), torch.randn(2, 3, 3, 3), torch.randn(3, 8, 1, 1)
    base = "lora_unet_down_blocks_0_resnets_0_conv1"
    state = {
        f"{base}.lora_up.weight": up, f"{base}.lora_mid.weight": mid,
        f"{base}.lora_down.weight": down, f"{base}.alpha": torch.tensor(1.0),
        "lora_unet_down_blocks_0_resnets_0_conv2.diff": torch.randn(8, 8, 3, 3),
    }  # fmt: skip
    save_file(state, tmp_path / "x.safetensors")
    found = deltas(tmp_path / "x.safetensors", state, FAMILIES["sd"], UNET)
    one, two = (found["unet", f"down_blocks.0.resnets.0.conv{i}"] for i in (1, 2))
    picture = torch.randn(1, 8, 6, 6)
    inner = torch.nn.functional.conv2d(torch.nn.functional.conv2d(picture, down), mid, padding=1)
    wanted = torch.nn.functional.conv2d(inner, up)
    weight = one.matrix("cpu").reshape(8, 8, 3, 3)
    made = torch.nn.functional.conv2d(picture, weight, padding=1)
    assert (made - wanted).abs().max() <= 1e-4 and one.factor == 1 / 3
    assert torch.equal(
        two.matrix("cpu"), state["lora_unet_down_blocks_0_resnets_0_conv2.diff"].flatten(1)
    )
    assert two.factor == 1.0


# ---- other layouts of plain LoRAs


@pytest.mark.parametrize(
    "layout", ["unet, kohya's halves", "no unet", "old processors", "default adapter"]
)
def test_other_names_mean_the_same(tmp_path: Path, layout: str) -> None:
    sd().save_pretrained(tmp_path / "tiny")
    layers = ["to_q", "to_k", "to_v"]
    saved = save_lora(sd(), tmp_path / "theirs", alpha=6, text=False, layers=layers)
    state = {}
    for key, value in load_file(saved / WEIGHTS).items():
        module, _, half = key.partition(".lora_")
        wide = half.startswith("B")
        bare = module.removeprefix("unet.")
        if layout == "default adapter":
            state[f"{module}.lora_{'B' if wide else 'A'}.default.weight"] = value
        elif layout == "old processors":
            owner, _, last = bare.rpartition(".")
            state[f"{owner}.processor.{last}_lora.{'up' if wide else 'down'}.weight"] = value
        elif layout == "no unet":
            state[f"{bare}.lora_{'up' if wide else 'down'}.weight"] = value
        else:
            state[f"{module}.lora_{'up' if wide else 'down'}.weight"] = value
        state[f"{bare if layout in ('no unet', 'old processors') else module}.alpha"] = (
            torch.tensor(6.0)
        )
    if layout == "old processors":
        state = {k.replace(".to_q.alpha", ".processor.to_q_lora.alpha")
                  .replace(".to_k.alpha", ".processor.to_k_lora.alpha")
                  .replace(".to_v.alpha", ".processor.to_v_lora.alpha"): v
                 for k, v in state.items()}  # fmt: skip
    save_file(state, tmp_path / "ink.safetensors")
    manager = PipelineManager([tmp_path], device="cpu")
    assert manager.library.open("tiny").lora("ink").problem is None
    wanted, made = latents(
        manager, [BASE.replace(loras=["theirs:0.8"]), BASE.replace(loras=["ink:0.8"])]
    )
    assert apart(wanted, made) <= 1e-6


REFUSED = {
    "lora_unet_x.dora_scale": "a DoRA", "unet.x.oft_blocks": "an OFT",
    "base_model.model.x.oft_R.weight": "an OFT", "unet.x.boft_R": "a BOFT",
    "lora_unet_x.a1.weight": "a GLoRA", "lora_unet_x.on_input": "an IA³",
    "lora_unet_x.diff_b": "changes biases", "lora_unet_x.w_norm": "changes norms",
    "bundle_emb.word.other.two": "is no embedding known here",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("beside", [True, False])
def test_other_forms_are_listed_with_the_reason(tmp_path: Path, name: str, beside: bool) -> None:
    state = kohya({"lora_unet_x": (4, 4)}, 2, 1.0) if beside else {}
    if name.startswith("bundle") and not beside:
        return  # embeddings alone are no LoRA
    more = {"bundle_emb.word.other": torch.ones(2, 2)} if name.startswith("bundle") else {}
    save_file({**state, **more, name: torch.ones(2, 2)}, tmp_path / "x.safetensors")
    (info,) = find([tmp_path])
    assert info.id == "x" and info.problem and REFUSED[name] in info.problem


def test_what_is_no_factor_is_named(tmp_path: Path) -> None:
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q"
    good = {f"{layer}.hada_{a}_{b}": torch.ones(8, 8) for a in ("w1", "w2") for b in "ab"}
    cases: list[tuple[State, str]] = [
        ({f"{layer}.hada_w1_a": torch.ones(8, 2)}, "do not make a LoHa"),
        ({**good, f"{layer}.hada_w2_b": torch.ones(3, 8)}, "do not make a LoHa"),
        ({**good, f"{layer}.other": torch.ones(1)}, "nothing reads it"),
        ({f"{layer}.lora_down.weight": torch.ones(2, 8)}, "one half only"),
    ]
    for state, words in cases:
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(ModelUnavailable, match=words):
            deltas(tmp_path / "x.safetensors", state, FAMILIES["sd"], UNET)
