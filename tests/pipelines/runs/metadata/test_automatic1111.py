"""Texts in AUTOMATIC1111's grammar, as its extensions, SD.Next, Civitai and others write them."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.runs.metadata.tools.automatic1111 import read_facts, read_text

HEAD = "a castle\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42"


def read(text: str) -> dict[str, Any]:
    found = read_text(text)
    assert found is not None
    return found.to_json()


def check(text: str, **more: Any) -> None:
    found = read(text)
    assert found["prompts"] == ["a castle"] and found["negative_prompts"] == ["blurry"]
    (sampler,) = found["samplers"]
    assert {k: sampler[k] for k in ("steps", "cfg_scale", "seed")} == {
        "steps": "20", "cfg_scale": "7", "seed": "42",
    }  # fmt: skip
    assert {key: found.get(key) for key in more} == more


@pytest.mark.parametrize(
    "quoted",
    [
        'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1"',
        'ADetailer prompt: "face, Steps: 3, Seed: 99"',
        'ADetailer prompt: "a \\"face\\", Steps: 3", ADetailer negative prompt: "x, Seed: 9"',
        'Template: "a {b|c}, Steps: 9, Model: other"',
        'Template: "a\\nSteps: 9, Seed: 9, Size: 9x9"',
        'TI hashes: "Seed: 1234, Steps: 9"',
        'Hires prompt: "Seed: 7, Steps: 8", Hires upscale: 2',
        'Path: "C:\\models\\x, Seed: 7"',
        'Empty: "", Other: x',
        'Open: "never closed, Other: x',
        'Civitai resources: [{"type":"checkpoint","Seed: 7, Steps":"9"}]',
        'Civitai metadata: {"remixOfId":1, "Seed":"7, Steps: 9"}',
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_quoted_facts_change_no_others(quoted: str, before: bool) -> None:
    model = 'Model: "my: model, v2"'
    facts = f"{quoted}, {model}" if before else f"{model}, {quoted}"
    if "never closed" not in quoted or not before:
        check(f"{HEAD}, {facts}, Version: v1.9.0", models=["my: model, v2"])
    check(f"{HEAD}, {quoted}")


def test_controlnets_are_no_models() -> None:
    one = '"Module: canny, Model: net [d14c], Weight: 0.8, Guidance Start: 0.1, Guidance End: 1"'
    check(
        f"{HEAD}, ControlNet 0: {one}, ControlNet 1: {one.replace('canny', 'depth')}",
        models=[],
        controlnets=[
            {
                "module": module,
                "model": "net [d14c]",
                "weight": "0.8",
                "guidance_start": "0.1",
                "guidance_end": "1",
            }
            for module in ("canny", "depth")
        ],
    )


def test_controlnets_of_older_versions() -> None:
    facts = "ControlNet Enabled: True, ControlNet Module: canny, ControlNet Model: net, "
    check(
        f"{HEAD}, {facts}ControlNet Weight: 1",
        models=[],
        controlnets=[{"enabled": "True", "module": "canny", "model": "net", "weight": "1"}],
    )
    old = '"preprocessor: canny, model: net, weight: 1, starting/ending: (0, 1)"'
    assert read(f"{HEAD}, ControlNet 0: {old}")["controlnets"][0]["model"] == "net"


def test_all_that_is_told() -> None:
    text = (
        f"{HEAD}, Size: 512x768, Model hash: abc, Model: thing, VAE: vae-ft.safetensors, "
        "Denoising strength: 0.4, Clip skip: 2, Hires upscale: 2, Hires steps: 10, "
        "Hires upscaler: Latent, Schedule type: Karras, Distilled CFG Scale: 3.5"
    ).replace("a castle", "a castle <lora:one:0.8> <lyco:two:1:0.5>")
    found = read(text)
    assert found == {
        "generator": "AUTOMATIC1111",
        "prompts": ["a castle <lora:one:0.8> <lyco:two:1:0.5>"],
        "negative_prompts": ["blurry"],
        "samplers": [
            {
                "name": "Euler a",
                "steps": "20",
                "cfg_scale": "7",
                "seed": "42",
                "scheduler": "Karras",
                "distilled_cfg_scale": "3.5",
                "denoising_strength": "0.4",
            }
        ],
        "models": ["thing"],
        "size": "512x768",
        "clip_skip": "2",
        "vae": "vae-ft.safetensors",
        "hires": {"Hires upscale": "2", "Hires steps": "10", "Hires upscaler": "Latent"},
        "loras": [{"name": "one", "scale": "0.8"}, {"name": "two", "scale": "1"}],
    }


@pytest.mark.parametrize(
    "facts",
    [
        "Steps: 20, Seed: 42, CFG scale: 7, Size: 1024x1024, Parser: native, Model: m, "
        "Backend: Diffusers, App: SD.Next, Version: 1a2b, Operations: txt2img, Pipeline: X",
        "Steps: 20, Size: 1024x1024, Seed: 42, CFG scale: 7, CFG true: 1, App: SD.Next, Model: m",
        "Seed: 42, Steps: 20, CFG scale: 7, App: SD.Next, Model: m",
    ],
)
def test_sdnext_leaves_the_sampler_out(facts: str) -> None:
    text = f"a castle\nNegative prompt: blurry\n{facts}"
    check(text, generator="SD.Next", models=["m"])
    assert "name" not in read(text)["samplers"][0]


def test_civitais_text() -> None:
    text = (
        f"{HEAD}, Size: 832x1216, Clip skip: 2, Created Date: 2024-11-05T18:31:30.8041593Z, "
        'Civitai resources: [{"type":"checkpoint","modelVersionId":290640,"modelName":"Pony"},'
        '{"type":"lora","weight":0.6,"modelVersionId":7,"modelName":"Ink, dark"}], '
        "Civitai metadata: {}"
    )
    check(text, generator="Civitai", size="832x1216", clip_skip="2")
    assert read(text)["loras"] == [{"name": "Ink, dark", "scale": "0.6"}]


def test_fooocus_other_scheme() -> None:
    text = (
        f'{HEAD}, Size: 896x1152, Sharpness: 2, ADM Guidance: "(1.5, 0.8, 0.3)", '
        "Base model: juggernaut, Base model hash: abc, Performance: Speed, Model: juggernaut, "
        'Lora hashes: "offset: 4852686128: 0.1", Metadata scheme: a1111, Version: Fooocus v2.4.3'
    )
    check(text, generator="Fooocus", models=["juggernaut"])
    assert read(text)["loras"] == [{"name": "offset", "scale": "0.1"}]


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("\n", "\r\n"),
        HEAD.replace(", ", "\n"),
        HEAD + "\nTemplate: a {castle|tower}, Steps: 9\nNegative Template: blurry",
        HEAD + ",\n",
        HEAD.replace("Steps: 20", "Steps:20").replace("Seed: 42", "Seed:42"),
        HEAD.replace("blurry\nSteps", "blurry Steps"),
        HEAD.replace(", ", " , "),
    ],
)
def test_variants_of_the_grammar(text: str) -> None:
    check(text)


def test_prompts_that_look_like_facts() -> None:
    for prompt in (
        "Steps: 3, Sampler: none",
        "Steps: 3, Sampler: Fake, CFG scale: 1, Seed: 9",
        "Seed: 1\nModel: x\nSize: big",
        "first\n\nSteps: 3, Seed: 4, Size: 5x5, Model: y\nlast",
    ):
        found = read(HEAD.replace("a castle", prompt))
        assert found["prompts"] == [prompt]
        assert found["samplers"][0]["seed"] == "42" and found["models"] == []


def test_texts_without_a_negative_prompt_or_any() -> None:
    found = read("a castle\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42")
    assert found["prompts"] == ["a castle"] and found["negative_prompts"] == []
    assert read("Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42")["prompts"] == []
    assert read_text("just words") is None and read_text("") is None
    assert read_text("Steps: to heaven, a photo") is None


def test_of_equal_facts_the_first_counts() -> None:
    assert read_facts('Seed: 1, "odd", Seed: 2, A: "x, y", B:') == {
        "Seed": "1",
        "A": "x, y",
        "B": "",
    }
