"""Tools with their own texts and JSON: what each writes is read right, wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs.png_metadata import read_settings
from tests.helpers import foreign_pictures as made

SWARM = {
    "sui_image_params": {
        "prompt": "a fox", "negativeprompt": "blurry", "model": "Flux/flux1-dev-fp8",
        "seed": 2042464333, "steps": 25, "cfgscale": 1.0, "aspectratio": "Custom", "width": 512,
        "height": 768, "sampler": "euler", "scheduler": "normal", "vae": "ae.sft",
        "fluxguidancescale": 3.5, "loras": ["a/ink", "dots"], "loraweights": ["0.5", "1"],
        "refinerupscale": 1.5, "refinercontrolpercentage": 0.4, "initimagecreativity": 0.6,
        "controlnetmodel": "canny.safetensors", "controlnetstrength": 0.7,
        "clipstopatlayer": -2, "swarm_version": "0.9.6.2",
    },
    "sui_extra_data": {"date": "2025-01-25"},
    "sui_models": [{"name": "flux1-dev-fp8.safetensors", "param": "model", "hash": "0x1"}],
}  # fmt: skip
NOVELAI = {
    "prompt": "a fox", "steps": 28, "height": 1216, "width": 832, "scale": 5.0,
    "uncond_scale": 0.0, "cfg_rescale": 0.2, "seed": 3141592653, "n_samples": 1,
    "noise_schedule": "karras", "sampler": "k_euler_ancestral", "uc": "blurry", "strength": 0.7,
    "v4_prompt": {"caption": {"base_caption": "a fox", "char_captions": [
        {"char_caption": "girl, red hair", "centers": [{"x": 0.5, "y": 0.5}]}]}},
    "v4_negative_prompt": {"caption": {"base_caption": "blurry", "char_captions": []}},
    "request_type": "PromptGenerateRequest", "signed_hash": "x",
}  # fmt: skip
FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "base_model_hash": "aeb7",
    "clip_skip": 2, "full_negative_prompt": ["blurry", "bad"], "full_prompt": ["cinematic a fox"],
    "guidance_scale": 4, "loras": [["offset_1.0", 0.1, "4852"]], "metadata_scheme": "fooocus",
    "negative_prompt": "blurry", "performance": "Speed", "prompt": "a fox",
    "prompt_expansion": "a fox, sharp", "refiner_model": "None", "refiner_switch": 0.5,
    "resolution": "(896, 1152)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "seed": "5123", "sharpness": 2, "steps": 30, "styles": "['Fooocus V2']",
    "vae": "Default (model)", "version": "Fooocus v2.5.3",
}  # fmt: skip
RUINED = {
    "Prompt": "a fox", "Negative": "blurry", "steps": 30, "cfg": 8.5, "width": 1152,
    "height": 896, "seed": 3864674281, "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "base_model_name": "sd_xl_base_1.0.safetensors", "base_model_hash": "be9e",
    "loras": [["4852", "0.1 - sub\\offset.safetensors"]], "start_step": 0, "denoise": None,
    "clip_skip": 1, "software": "RuinedFooocus",
}  # fmt: skip
INVOKE = {
    "app_version": "5.6.0", "generation_mode": "sdxl_txt2img", "positive_prompt": "a fox",
    "negative_prompt": "blurry", "positive_style_prompt": "", "width": 1024, "height": 768,
    "seed": 77, "rand_device": "cpu", "cfg_scale": 7.5, "cfg_rescale_multiplier": 0, "steps": 30,
    "scheduler": "dpmpp_3m_k", "clip_skip": 0, "seamless_x": False,
    "model": {"key": "6a1", "hash": "blake3:1", "name": "Juggernaut XL", "base": "sdxl",
              "type": "main"},
    "loras": [{"model": {"key": "1", "name": "ink", "base": "sdxl", "type": "lora"},
               "weight": 0.75}],
    "vae": {"key": "2", "name": "sdxl-vae-fp16-fix", "base": "sdxl", "type": "vae"},
    "controlnets": [{"control_model": {"name": "canny"}, "control_weight": 0.5,
                     "begin_step_percent": 0, "end_step_percent": 0.7, "control_mode": "balanced",
                     "image": {"image_name": "x.png"}}],
    "hrf_enabled": True, "hrf_strength": 0.45, "hrf_method": "ESRGAN", "strength": 0.65,
}  # fmt: skip
INVOKE_3: dict[str, Any] = {
    **INVOKE,
    "model": {"model_name": "Juggernaut XL", "base_model": "sdxl", "model_type": "main"},
    "loras": [{"lora": {"model_name": "ink", "base_model": "sdxl"}, "weight": 0.75}],
    "vae": {"model_name": "sdxl-vae-fp16-fix", "base_model": "sdxl"},
    "controlnets": [{**INVOKE["controlnets"][0], "control_model": {"model_name": "canny"}}],
}  # type: ignore[dict-item, index]
CIVITAI = {
    "resource-stack": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "urn:air:sdxl:checkpoint:civitai:101055@128078"},
    },
    "6": {
        "class_type": "smZ CLIPTextEncode",
        "inputs": {"text": "other", "clip": ["resource-stack", 1]},
    },
    "extra": {"airs": ["urn:air:sdxl:checkpoint:civitai:101055@128078"]},
    "extraMetadata": json.dumps(
        {
            "prompt": "a fox", "negativePrompt": "blurry", "steps": 25, "cfgScale": 4,
            "sampler": "euler", "seed": 99, "workflowId": "txt2img", "width": 832, "height": 1216,
            "resources": [{"modelVersionId": 128078, "strength": 1},
                          {"modelVersionId": 5, "strength": 0.6}],
        }
    ),
}  # fmt: skip


def read(path: Path, **wanted: Any) -> dict[str, Any]:
    found = read_settings(path)
    assert {key: found.get(key) for key in wanted} == wanted
    json.dumps(found)
    return found


def sampler(found: dict[str, Any]) -> tuple[str, ...]:
    one = found["samplers"][0]
    return tuple(one.get(key) for key in ("name", "steps", "cfg_scale", "seed", "scheduler"))


def carried(folder: Path, text: str) -> list[Path]:
    """The text as a PNG's and in EXIF, as tools write it."""
    return [
        made.png(folder / "a.png", {"parameters": text}),
        made.with_exif(folder / "a.jpg", made.user_comment(text, "unicode", "utf-16-le", "<")),
        made.with_exif(folder / "a.webp", made.exif({0x0110: text.encode() + b"\0"})),
        made.with_exif(folder / "b.jpg", made.user_comment(text, "ascii", "utf-8", ">")),
    ]


def test_swarmui(tmp_path: Path) -> None:
    for path in carried(tmp_path, json.dumps(SWARM, indent=2)):
        found = read(
            path, generator="SwarmUI", prompts=["a fox"], negative_prompts=["blurry"],
            models=["flux1-dev-fp8"], size="512x768", vae="ae.sft", clip_skip="2",
            loras=[{"name": "ink", "scale": "0.5"}, {"name": "dots", "scale": "1"}],
            controlnets=[{"model": "canny.safetensors", "weight": "0.7"}],
            hires={"refinerupscale": "1.5", "refinercontrolpercentage": "0.4"},
        )  # fmt: skip
        assert sampler(found) == ("euler", "25", "1.0", "2042464333", "normal")
        assert found["samplers"][0]["distilled_cfg_scale"] == "3.5"
        assert found["samplers"][0]["denoising_strength"] == "0.6"


def novelai_texts() -> dict[str, str]:
    return {
        "Title": "NovelAI generated image", "Description": "a fox", "Software": "NovelAI",
        "Source": "NovelAI Diffusion V4 37442FCA", "Comment": json.dumps(NOVELAI),
    }  # fmt: skip


def novelai(path: Path) -> None:
    found = read(
        path, generator="NovelAI", prompts=["a fox", "girl, red hair"], size="832x1216",
        negative_prompts=["blurry"], models=["NovelAI Diffusion V4"],
    )  # fmt: skip
    assert sampler(found) == ("k_euler_ancestral", "28", "5.0", "3141592653", "karras")
    assert found["samplers"][0]["cfg_rescale"] == "0.2"
    assert found["request"]["prompt"] == "a fox" and found["request"]["sampler"] == "euler_a"


def test_novelai(tmp_path: Path) -> None:
    novelai(made.png(tmp_path / "a.png", novelai_texts()))
    for path in carried(tmp_path, json.dumps(novelai_texts())):
        novelai(path)
    text = json.dumps(novelai_texts()).encode()
    novelai(made.with_hidden_text(tmp_path / "hidden.png", text, b"stealth_pnginfo"))


def test_novelai_of_the_first_version(tmp_path: Path) -> None:
    comment = {
        "steps": 28, "sampler": "k_euler", "seed": 3, "strength": 0.69, "noise": 0.667,
        "scale": 11.0, "uc": "blurry",
    }  # fmt: skip
    texts = {
        **novelai_texts(), "Comment": json.dumps(comment), "Source": "Stable Diffusion 1D44365E",
    }  # fmt: skip
    found = read(made.png(tmp_path / "a.png", texts), models=["Stable Diffusion"])
    assert found["prompts"] == ["a fox"] and found["negative_prompts"] == ["blurry"]
    assert sampler(found) == ("k_euler", "28", "11.0", "3", None)


def test_fooocus(tmp_path: Path) -> None:
    for path in carried(tmp_path, json.dumps(FOOOCUS)):
        found = read(
            path, generator="Fooocus", prompts=["a fox"], negative_prompts=["blurry"],
            models=["juggernautXL_v8"], size="896x1152", clip_skip="2", vae=None,
            loras=[{"name": "offset_1.0", "scale": "0.1"}],
        )  # fmt: skip
        assert sampler(found) == ("dpmpp_2m_sde_gpu", "30", "4", "5123", "karras")


def test_ruinedfooocus(tmp_path: Path) -> None:
    early = {**RUINED, "loras": "Loras:<offset.safetensors:0.1>"}
    for row in (RUINED, early):
        for path in carried(tmp_path, json.dumps(row)):
            found = read(
                path, generator="RuinedFooocus", prompts=["a fox"], negative_prompts=["blurry"],
                models=["sd_xl_base_1.0.safetensors"], size="1152x896",
                loras=[{"name": "offset.safetensors", "scale": "0.1"}],
            )  # fmt: skip
            assert sampler(found) == ("dpmpp_2m_sde_gpu", "30", "8.5", "3864674281", "karras")


@pytest.mark.parametrize("metadata", [INVOKE, INVOKE_3], ids=["version 4 to 6", "version 3"])
def test_invokeai(tmp_path: Path, metadata: dict[str, Any]) -> None:
    texts = {"invokeai_metadata": json.dumps(metadata), "invokeai_graph": "{}"}
    found = read(
        made.png(tmp_path / "a.png", texts), generator="InvokeAI", prompts=["a fox"],
        negative_prompts=["blurry"], models=["Juggernaut XL"], size="1024x768",
        vae="sdxl-vae-fp16-fix", loras=[{"name": "ink", "scale": "0.75"}],
        hires={"hrf_strength": "0.45", "hrf_method": "ESRGAN"},
        controlnets=[{"model": "canny", "weight": "0.5", "guidance_start": "0",
                      "guidance_end": "0.7", "control_mode": "balanced"}],
    )  # fmt: skip
    assert sampler(found) == ("dpmpp_3m_k", "30", "7.5", "77", None)
    assert found["samplers"][0]["denoising_strength"] == "0.65"


def test_invokeai_of_flow_models(tmp_path: Path) -> None:
    metadata = {
        "generation_mode": "flux_txt2img", "positive_prompt": "a fox", "guidance": 4, "seed": 1,
        "steps": 20, "width": 8, "height": 8, "scheduler": "euler", "negative_prompt": None,
        "model": {"name": "FLUX Dev"}, "vae": None, "loras": None, "cfg_scale": 1,
    }  # fmt: skip
    found = read(made.png(tmp_path / "a.png", {"invokeai_metadata": json.dumps(metadata)}))
    assert sampler(found) == ("euler", "20", "1", "1", None)
    assert found["samplers"][0]["distilled_cfg_scale"] == "4" and found["prompts"] == ["a fox"]


def test_invokeai_before_version_3(tmp_path: Path) -> None:
    image = {
        "prompt": [{"prompt": "a fox [blurry]", "weight": 1}], "steps": 50, "cfg_scale": 7.5,
        "height": 512, "width": 640, "seed": 123, "type": "txt2img", "sampler": "k_lms",
    }  # fmt: skip
    whole = {"model": "stable diffusion", "model_weights": "sd-1.5", "image": image}
    dream = '"a "red" fox [blurry]" -s 50 -S 123 -W 640 -H 512 -C 7.5 -A k_lms'
    second = made.png(tmp_path / "a.png", {"sd-metadata": json.dumps(whole), "Dream": dream})
    assert read(second, models=["sd-1.5"], size="640x512")["prompts"] == ["a fox"]
    first = made.png(tmp_path / "b.png", {"Dream": dream})
    assert read(first, size="640x512")["prompts"] == ['a "red" fox']
    for path in (first, second):
        found = read(path, negative_prompts=["blurry"])
        assert sampler(found) == ("k_lms", "50", "7.5", "123", None)


def test_civitai(tmp_path: Path) -> None:
    escaped = json.dumps(CIVITAI).replace("a fox", "a f\\u00f6x")
    for path in carried(tmp_path, escaped):
        found = read(
            path, generator="Civitai", negative_prompts=["blurry"], size="832x1216",
            models=["civitai:128078"],
        )  # fmt: skip
        assert sampler(found) == ("euler", "25", "4", "99", None)
        assert {"name": "civitai:5", "scale": "0.6"} in found["loras"]


@pytest.mark.parametrize(
    "texts",
    [
        {
            "prompt": "a fox", "negative_prompt": "blurry", "seed": "99", "guidance_scale": "4",
            "num_inference_steps": "25", "sampler_name": "euler", "width": "8", "height": "8",
            "use_stable_diffusion_model": "sd",
        },
        {"XML": json.dumps({"c": "a fox", "uc": "blurry", "seed": 99, "scale": 4, "steps": 25,
                            "sampler": "euler", "size": "8x8", "model": "sd"})},
        {"generation": json.dumps({"prompt": "a fox", "negativePrompt": "blurry", "seed": 99,
                                   "cfgScale": 4, "steps": 25, "sampler": "euler",
                                   "Size": "8x8", "Model": "sd"})},
    ],
)  # fmt: skip
def test_plain_json_and_plain_texts(tmp_path: Path, texts: dict[str, str]) -> None:
    found = read(
        made.png(tmp_path / "a.png", texts), prompts=["a fox"], negative_prompts=["blurry"],
        models=["sd"], size="8x8",
    )  # fmt: skip
    assert sampler(found) == ("euler", "25", "4", "99", None)
