"""ComfyUI's graphs: whatever stands between a sampler and its loader, prompts and seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs.metadata.comfyui.reader import read
from pipelines.runs.png_metadata import read_settings
from tests.helpers import foreign_pictures as made

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def plain(**more: Any) -> Graph:
    """Text to image as ComfyUI starts with it, with nodes replaced or added."""
    return {
        "3": node(
            "KSampler", seed=42, steps=20, cfg=7.5, sampler_name="euler", scheduler="karras",
            denoise=1.0, model=["4", 0], positive=["6", 0], negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd/thing.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
        **more,
    }  # fmt: skip


def changed(graph: Graph, number: str, **inputs: Any) -> Graph:
    return {**graph, number: {**graph[number], "inputs": {**graph[number]["inputs"], **inputs}}}


def settings(graph: Mapping[str, Any], key: str = "prompt") -> dict[str, Any]:
    found = read({key: json.dumps(graph)})
    assert found is not None
    return found.to_json()


def check(graph: Graph, **more: Any) -> dict[str, Any]:
    found = settings(graph)
    assert found["prompts"] == more.pop("prompts", ["a fox"])
    assert found["negative_prompts"] == more.pop("negative_prompts", ["blurry"])
    assert found["models"] == more.pop("models", ["thing.safetensors"])
    one = found["samplers"][0]
    core = {key: one.get(key) for key in ("name", "steps", "cfg_scale", "seed", "scheduler")}
    assert core == more.pop(
        "sampler",
        {"name": "euler", "steps": "20", "cfg_scale": "7.5", "seed": "42", "scheduler": "karras"},
    )
    assert {key: found.get(key) for key in more} == more
    return found


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
    ink, dots = {"name": "ink.safetensors", "scale": "0.8"}, {"name": "dots.safetensors", "scale": "1"}
    wanted = {"LoRA": [ink], "Power LoRA loader": [ink], "stack": [ink], "two LoRAs": [ink, dots]}
    assert found.get("loras", []) == wanted.get(name, [])


def flux(guider: dict[str, Any], **more: Any) -> Graph:
    return {
        "5": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a fox", clip=["11", 0]),
        "7": node("CLIPTextEncode", text="blurry", clip=["11", 0]),
        "8": node("VAEDecode", samples=["13", 0], vae=["10", 0]),
        "9": node("SaveImage", images=["8", 0]),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "11": node("DualCLIPLoader", clip_name1="t5", clip_name2="clip_l", type="flux"),
        "12": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "13": node("SamplerCustomAdvanced", noise=["25", 0], guider=["22", 0], sampler=["16", 0],
                   sigmas=["17", 0], latent_image=["5", 0]),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("BasicScheduler", scheduler="karras", steps=20, denoise=1, model=["30", 0]),
        "22": guider,
        "25": node("RandomNoise", noise_seed=42),
        "26": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
        "30": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, model=["12", 0]),
        **more,
    }  # fmt: skip


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


def test_formulas_are_no_numbers() -> None:
    maths = node("SimpleMath+", value="a * 2", a=["31", 0])
    graph = changed(plain(**{"30": maths, "31": node("PrimitiveInt", value=10)}), "3", cfg=["30", 0])
    assert "cfg_scale" not in settings(graph)["samplers"][0]


def test_an_empty_negative_is_empty() -> None:
    zero = node("ConditioningZeroOut", conditioning=["6", 0])
    check(changed(plain(**{"30": zero}), "3", negative=["30", 0]), negative_prompts=[])
    check(changed(plain(), "7", text=""), negative_prompts=[])


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
    check(
        graph, size="512x768", clip_skip="2", loras=[{"name": "ink.safetensors", "scale": "0.8"}]
    )
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


WIDGETS: dict[str, list[Any]] = {
    "3": [42, "randomize", 20, 7.5, "euler", "karras", 1],
    "4": ["thing.safetensors"], "5": [512, 768, 1], "6": ["a fox"], "7": ["blurry"],
    "8": [], "9": ["ComfyUI"],
}  # fmt: skip


def workflow(graph: Graph, widgets: Mapping[str, list[Any]], **modes: int) -> dict[str, Any]:
    """A graph as the editor writes it."""
    links: list[list[Any]] = []
    nodes: list[dict[str, Any]] = []
    for key, one in graph.items():
        inputs = []
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                links.append([len(links) + 1, int(value[0]), value[1], int(key), 0, "X"])
                inputs.append({"name": name, "type": "X", "link": len(links)})
        nodes.append(
            {
                "id": int(key), "type": one["class_type"], "mode": modes.get(f"n{key}", 0),
                "inputs": inputs, "outputs": [], "widgets_values": widgets.get(key, []),
            }
        )  # fmt: skip
    return {"last_node_id": 9, "nodes": nodes, "links": links, "version": 0.4}


def check_workflow(found: dict[str, Any]) -> None:
    read_back = settings(found, "workflow")
    assert read_back["prompts"] == ["a fox"] and read_back["negative_prompts"] == ["blurry"]
    assert read_back["models"] == ["thing.safetensors"] and read_back["size"] == "512x768"
    assert {k: read_back["samplers"][0][k] for k in ("seed", "steps", "cfg_scale")} == {
        "seed": "42", "steps": "20", "cfg_scale": "7.5",
    }  # fmt: skip


def test_a_workflow_without_a_prompt() -> None:
    check_workflow(workflow(plain(), WIDGETS))


def test_bypassed_and_muted_nodes() -> None:
    lora = node("LoraLoader", model=["4", 0], clip=["4", 1])
    graph = changed(plain(**{"30": lora}), "3", model=["30", 0])
    widgets = {**WIDGETS, "30": ["ink.safetensors", 0.8, 1]}
    check_workflow(workflow(graph, widgets, n30=4))
    assert "loras" not in settings(workflow(graph, widgets, n30=4), "workflow")
    assert settings(workflow(graph, widgets), "workflow")["loras"] == [
        {"name": "ink.safetensors", "scale": "0.8"}
    ]


def test_set_and_get_nodes_and_primitives() -> None:
    graph = plain(
        **{
            "30": node("SetNode", MODEL=["4", 0]), "31": node("GetNode"),
            "32": node("PrimitiveNode"), "33": node("SomeTextBox"),
        }
    )  # fmt: skip
    graph = changed(changed(graph, "3", model=["31", 0], seed=["32", 0]), "6", text=["33", 0])
    widgets = {
        **WIDGETS, "30": ["the model"], "31": ["the model"], "32": [42, "fixed"],
        "33": ["a fox"], "3": [7, *WIDGETS["3"][1:]],
    }  # fmt: skip
    check_workflow(workflow(graph, widgets))


def test_links_as_objects_and_widgets_by_name() -> None:
    found = workflow(plain(), {**WIDGETS, "3": [42, "fixed", 20, 7.5, "euler", "karras", 1]})
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    found["links"] = [dict(zip(names, link, strict=True)) for link in found["links"]]
    sampler = next(one for one in found["nodes"] if one["id"] == 3)
    sampler["type"] = "SomeKSampler"
    sampler["inputs"] += [
        {"name": name, "widget": {"name": name}, "link": None}
        for name in ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    ]
    check_workflow(found)


def test_graphs_in_exif(tmp_path: Path) -> None:
    graph, editor = json.dumps(plain()), json.dumps(workflow(plain(), WIDGETS))
    for number, tags in enumerate(
        (
            {0x0110: f"prompt:{graph}", 0x010F: f"workflow:{editor}"},
            {0x010E: f"Workflow:{editor}", 0x010F: f"Prompt:{graph}"},
            {0x010F: f"Workflow: {editor}"},
        )
    ):
        block = made.exif({tag: text.encode() + b"\0" for tag, text in tags.items()})
        for suffix in ("webp", "jpg", "avif"):
            path = made.with_exif(tmp_path / f"{number}.{suffix}", block)
            assert read_settings(path)["samplers"][0]["seed"] == "42"
    both = json.dumps({"prompt": plain(), "workflow": json.loads(editor)})
    comment = made.user_comment(both, "unicode", "utf-16-be", ">")
    assert read_settings(made.with_exif(tmp_path / "a.jpg", comment))["prompts"] == ["a fox"]


def test_not_a_number(tmp_path: Path) -> None:
    graph = changed(plain(), "9", is_changed=[float("nan")])
    path = made.png(tmp_path / "a.png", {"prompt": json.dumps(graph)})
    assert read_settings(path)["prompts"] == ["a fox"]
