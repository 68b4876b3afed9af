"""ComfyUI's graphs: whatever stands between a sampler and its loader, samplers in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.runs.png_metadata import read_settings
from tests.helpers import foreign_pictures as made
from tests.helpers.comfy_graphs import Graph, changed, check, flux, node, plain


def test_the_plain_graph() -> None:
    check(plain(), size="512x768", generator="ComfyUI", loras=None)


@pytest.mark.parametrize("both", ["prompt", "workflow"])
def test_a_picture_with_one_of_its_two_texts(tmp_path: Path, both: str) -> None:
    path = made.png(tmp_path / "a.png", {both: json.dumps(plain())})
    assert read_settings(path)["request"]["seed"] == 42


BETWEEN: dict[str, Graph] = {
    "LoRA": {"20": node("LoraLoader", lora_name="ink.safetensors", strength_model=0.8,
                        strength_clip=1, model=["4", 0], clip=["4", 1])},
    "two LoRAs": {
        "20": node("LoraLoaderModelOnly", lora_name="ink.safetensors", strength_model=0.8,
                   model=["21", 0]),
        "21": node("LoraLoader", lora_name="dots.safetensors", strength_model=1, strength_clip=1,
                   model=["4", 0], clip=["4", 1]),
    },
    "FreeU": {"20": node("FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2, model=["4", 0])},
    "model sampling": {
        "20": node("ModelSamplingDiscrete", sampling="v_prediction", zsnr=True, model=["21", 0]),
        "21": node("RescaleCFG", multiplier=0.7, model=["22", 0]),
        "22": node("ModelSamplingSD3", shift=3, model=["4", 0]),
    },
    "Power LoRA loader": {
        "20": node("Power Lora Loader (rgthree)", model=["4", 0], clip=["4", 1],
                   PowerLoraLoaderHeaderWidget={"type": "x"},
                   lora_1={"on": True, "lora": "ink.safetensors", "strength": 0.8},
                   lora_2={"on": False, "lora": "off.safetensors", "strength": 1}),
    },
    "reroutes": {"20": node("Reroute", **{"": ["21", 0]}), "21": node("Reroute", **{"": ["4", 0]})},
    "IPAdapter": {"20": node("IPAdapterAdvanced", model=["4", 0], ipadapter=["30", 0],
                             image=["31", 0], weight=1)},
    "stack": {
        "20": node("CR Apply LoRA Stack", model=["4", 0], clip=["4", 1], lora_stack=["21", 0]),
        "21": node("CR LoRA Stack", switch_1="On", lora_name_1="ink.safetensors",
                   model_weight_1=0.8, clip_weight_1=1, switch_2="Off", lora_name_2="off",
                   model_weight_2=1),
    },
    "switch": {"20": node("Any Switch (rgthree)", any_01=["4", 0])},
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_between_sampler_and_checkpoint(name: str) -> None:
    found = check(changed(plain(**BETWEEN[name]), "3", model=["20", 0]))
    ink, dots = (
        {"name": "ink.safetensors", "scale": "0.8"},
        {"name": "dots.safetensors", "scale": "1"},
    )
    wanted = {"LoRA": [ink], "Power LoRA loader": [ink], "stack": [ink], "two LoRAs": [ink, dots]}
    assert found.get("loras", []) == wanted.get(name, [])


def test_guiders_and_samplers_in_parts() -> None:
    basic = flux(node("BasicGuider", model=["30", 0], conditioning=["26", 0]))
    sampler = {
        "name": "euler", "steps": "20", "cfg_scale": "1", "seed": "42", "scheduler": "karras",
    }  # fmt: skip
    models = ["flux1-dev.safetensors"]
    found = check(
        basic, negative_prompts=[], models=models, sampler=sampler, size="1024x768",
        vae="ae.safetensors",
    )  # fmt: skip
    assert found["samplers"][0]["distilled_cfg_scale"] == "3.5"
    guider = node("CFGGuider", model=["30", 0], positive=["6", 0], negative=["7", 0], cfg=7.5)
    check(flux(guider), models=models, sampler={**sampler, "cfg_scale": "7.5"})
    split = flux(guider, **{
        "17": node("SplitSigmas", sigmas=["18", 0], step=9),
        "18": node("KarrasScheduler", steps=20, sigma_max=14.6, sigma_min=0.03, rho=7),
        "16": node("SamplerEulerAncestral", eta=1.0, s_noise=1.0),
    })  # fmt: skip
    check(
        split, models=models,
        sampler={**sampler, "name": "EulerAncestral", "scheduler": "Karras", "cfg_scale": "7.5"},
    )  # fmt: skip
    custom = node(
        "SamplerCustom", model=["30", 0], add_noise=True, noise_seed=42, cfg=7.5,
        positive=["6", 0], negative=["7", 0], sampler=["16", 0], sigmas=["17", 0],
        latent_image=["5", 0],
    )  # fmt: skip
    check({**basic, "13": custom}, models=models, sampler={**sampler, "cfg_scale": "7.5"})


def test_loaders_with_everything_inside() -> None:
    loader = node(
        "Efficient Loader", ckpt_name="thing.safetensors", vae_name="Baked VAE", clip_skip=-2,
        lora_name="ink.safetensors", lora_model_strength=0.8, lora_clip_strength=1,
        positive="a fox", negative="blurry", empty_latent_width=512, empty_latent_height=768,
    )  # fmt: skip
    sampler = node(
        "KSampler (Efficient)", seed=42, steps=20, cfg=7.5, sampler_name="euler",
        scheduler="karras", denoise=1, model=["1", 0], positive=["1", 1], negative=["1", 2],
        latent_image=["1", 3], optional_vae=["1", 4],
    )  # fmt: skip
    graph = {"1": loader, "2": sampler, "3": node("SaveImage", images=["2", 5])}
    check(graph, size="512x768", clip_skip="2", loras=[{"name": "ink.safetensors", "scale": "0.8"}])
    piped = {
        "1": node("easy fullLoader", ckpt_name="thing.safetensors", positive="a fox",
                  negative="blurry", empty_latent_width=512, empty_latent_height=768),
        "2": node("easy preSampling", pipe=["1", 0], seed=42, steps=20, cfg=7.5,
                  sampler_name="euler", scheduler="karras", denoise=1),
        "3": node("easy kSampler", pipe=["2", 0], image_output="Save"),
    }  # fmt: skip
    check(piped, size="512x768")


def test_later_passes_come_later() -> None:
    second = node(
        "KSamplerAdvanced", noise_seed=7, steps=9, cfg=3, sampler_name="ddim", scheduler="normal",
        model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["30", 0],
    )  # fmt: skip
    detailer = node(
        "FaceDetailer", image=["8", 0], model=["4", 0], positive=["50", 0], negative=["7", 0],
        seed=1, steps=2, cfg=1, sampler_name="lms", scheduler="simple", denoise=0.5,
    )  # fmt: skip
    unused = node("KSampler", seed=3, steps=3, cfg=3, sampler_name="x", scheduler="y")
    graph = {
        "0": unused, "1": second, "2": detailer, **plain(),
        "8": node("VAEDecode", samples=["1", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["2", 0]), "50": node("CLIPTextEncode", text="face"),
        "30": node("LatentUpscale", samples=["3", 0], width=1024, height=1536),
    }  # fmt: skip
    assert [one["seed"] for one in check(graph)["samplers"]] == ["42", "7", "1"]


def test_clip_skip() -> None:
    graph = plain(**{"30": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1])})
    check(changed(graph, "6", clip=["30", 0]), clip_skip="2")
