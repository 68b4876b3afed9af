"""ComfyUI's graphs: seeds, numbers and texts that come from other nodes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.comfy_graphs import changed, check, flux, node, plain, settings


@pytest.mark.parametrize(
    "seed",
    [
        node("PrimitiveNode", value=42),
        node("PrimitiveInt", value=42),
        node("Seed (rgthree)", seed=42),
        node("INTConstant", value=42),
        node("CR Seed", seed=42, control_after_generate="fixed"),
        node("easy seed", seed=42),
        node("Reroute", **{"": ["31", 0]}),
        node("Int Literal", int=42),
        node("ImpactSwitch", select=2, input1=["32", 0], input2=["31", 0]),
    ],
    ids=lambda one: str(one["class_type"]),
)
def test_seeds_of_other_nodes(seed: dict[str, Any]) -> None:
    more = {"30": seed, "31": node("PrimitiveInt", value=42), "32": node("PrimitiveInt", value=7)}
    check(changed(plain(**more), "3", seed=["30", 0]))
    advanced = node("RandomNoise", noise_seed=["30", 0])
    guider = node("CFGGuider", model=["30", 0], positive=["6", 0], negative=["7", 0], cfg=7.5)
    assert settings(flux(guider, **{**more, "25": advanced}))["samplers"][0]["seed"] == "42"


def test_steps_and_scale_of_other_nodes() -> None:
    more = {"30": node("PrimitiveInt", value=20), "31": node("FloatConstant", value=7.5)}
    check(changed(plain(**more), "3", steps=["30", 0], cfg=["31", 0]))


@pytest.mark.parametrize(
    "text",
    [
        node("PrimitiveNode", value="a fox"),
        node("PrimitiveStringMultiline", value="a fox"),
        node("String Literal", string="a fox"),
        node("Text Multiline", text="a fox"),
        node("ShowText|pysssss", text=["31", 0], text_0="old"),
        node("ShowText|pysssss", text=["33", 0], text_0="a fox"),
        node("ImpactWildcardProcessor", wildcard_text="a {x|y}", populated_text="a fox", seed=9),
        node("StringConcatenate", string_a="a ", string_b=["32", 0], delimiter=""),
        node("Text Concatenate", delimiter=" ", text_a="a", text_b=["32", 0]),
        node("JoinStrings", string1="a", string2=["32", 0], delimiter=" "),
        node("CR Text", text="a fox"),
        node("DPRandomGenerator", text="a fox", seed=3, autorefresh="No"),
        node("Reroute", **{"": ["31", 0]}),
    ],
    ids=lambda one: str(one["class_type"]),
)
def test_texts_of_other_nodes(text: dict[str, Any]) -> None:
    more = {
        "30": text, "31": node("Text Multiline", text="a fox"),
        "32": node("String Literal", string="fox"), "33": node("LLM", image=["40", 0]),
    }  # fmt: skip
    check(changed(plain(**more), "6", text=["30", 0]))


@pytest.mark.parametrize(
    "encoder, prompts",
    [
        (node("CLIPTextEncodeSDXL", text_g="a fox", text_l="a fox", width=1024), ["a fox"]),
        (node("CLIPTextEncodeSDXL", text_g="a fox", text_l="red"), ["a fox", "red"]),
        (node("CLIPTextEncodeFlux", clip_l="fox", t5xxl="a fox", guidance=3), ["a fox", "fox"]),
        (node("CLIPTextEncodeSD3", clip_l="", clip_g="", t5xxl="a fox"), ["a fox"]),
        (node("BNK_CLIPTextEncodeAdvanced", text="a fox", token_normalization="none"), ["a fox"]),
        (node("TextEncodeQwenImageEdit", prompt="a fox", image1=["40", 0]), ["a fox"]),
        (node("ConditioningCombine", conditioning_1=["50", 0], conditioning_2=["51", 0]),
         ["a fox", "red"]),
        (node("ConditioningSetArea", conditioning=["50", 0], width=8), ["a fox"]),
        (node("ControlNetApplyAdvanced", positive=["50", 0], negative=["7", 0], strength=0.5,
              start_percent=0, end_percent=0.8, control_net=["52", 0], image=["53", 0]),
         ["a fox"]),
        (node("FluxGuidance", conditioning=["50", 0], guidance=3.5), ["a fox"]),
    ],
)  # fmt: skip
def test_conditionings(encoder: dict[str, Any], prompts: list[str]) -> None:
    more = {
        "40": node("LoadImage", image="x.png"), "30": encoder,
        "50": node("CLIPTextEncode", text="a fox"), "51": node("CLIPTextEncode", text="red"),
        "52": node("ControlNetLoader", control_net_name="canny.safetensors"),
        "53": node("LoadImage", image="x.png"),
    }  # fmt: skip
    found = check(changed(plain(**more), "3", positive=["30", 0]), prompts=prompts)
    if "control_net" in encoder["inputs"]:
        assert found["controlnets"] == [
            {"model": "canny.safetensors", "weight": "0.5", "guidance_start": "0",
             "guidance_end": "0.8"}
        ]  # fmt: skip


def test_one_node_with_both_sides() -> None:
    both = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1,
                control_net=["31", 0])  # fmt: skip
    check(changed(plain(**{"30": both}), "3", positive=["30", 0], negative=["30", 1]))


def test_pipes_and_contexts() -> None:
    more = {
        "30": node("ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], positive=["6", 0],
                   negative=["7", 0]),
        "31": node("FromBasicPipe", basic_pipe=["30", 0]),
        "32": node("Context (rgthree)", base_ctx=["33", 0], model=["4", 0]),
        "33": node("Context Big (rgthree)", positive=["6", 0], negative=["7", 0], seed=7),
    }  # fmt: skip
    graph = plain(**more)
    check(changed(graph, "3", positive=["31", 3], negative=["31", 4], model=["31", 0]))
    check(changed(graph, "3", positive=["32", 4], negative=["32", 5], model=["32", 1]))
    sampler = node("ImpactKSamplerBasicPipe", basic_pipe=["30", 0], seed=42, steps=20, cfg=7.5,
                   sampler_name="euler", scheduler="karras", latent_image=["5", 0])  # fmt: skip
    check({**graph, "3": sampler})


def test_styles_of_both_sides() -> None:
    styler = node("SDXLPromptStyler", text_positive="a fox", text_negative="blurry", style="base")
    graph = plain(**{"30": styler})
    check(changed(changed(graph, "6", text=["30", 0]), "7", text=["30", 1]))


def test_boxes_are_no_prompts() -> None:
    box = node("GLIGENTextboxApply", conditioning_to=["6", 0], text="a tree", width=8)
    check(changed(plain(**{"30": box}), "3", positive=["30", 0]))


def test_models_of_detailers_and_upscalers_are_no_checkpoints() -> None:
    more = {
        "30": node("LoraLoader", lora_name="ink", strength_model=1, model=["4", 0]),
        "31": node("SAMLoader", model_name="sam.pth"),
        "32": node("UpscaleModelLoader", model_name="4x.pth"),
    }  # fmt: skip
    check(changed(plain(**more), "3", model=["30", 0], sam_model_opt=["31", 0],
                  upscale_model=["32", 0]))  # fmt: skip


def test_switches() -> None:
    more = {
        "30": node("ComfySwitchNode", switch=["31", 0], on_true=["32", 0], on_false=["33", 0]),
        "31": node("PrimitiveBoolean", value=True),
        "32": node("PrimitiveInt", value=20), "33": node("PrimitiveInt", value=4),
        "34": node("ComfySwitchNode", switch=False, on_true=["35", 0], on_false=["36", 0]),
        "35": node("PrimitiveString", value="a tree"), "36": node("PrimitiveString", value="a fox"),
    }  # fmt: skip
    check(changed(changed(plain(**more), "3", steps=["30", 0]), "6", text=["34", 0]))


def test_formulas_are_no_numbers() -> None:
    maths = node("SimpleMath+", value="a * 2", a=["31", 0])
    graph = changed(
        plain(**{"30": maths, "31": node("PrimitiveInt", value=10)}), "3", cfg=["30", 0]
    )
    assert "cfg_scale" not in settings(graph)["samplers"][0]


def test_an_empty_negative_is_empty() -> None:
    zero = node("ConditioningZeroOut", conditioning=["6", 0])
    check(changed(plain(**{"30": zero}), "3", negative=["30", 0]), negative_prompts=[])
    check(changed(plain(), "7", text=""), negative_prompts=[])
