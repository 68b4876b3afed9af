"""ComfyUI's workflows without a prompt, and graphs in EXIF."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.runs.metadata.comfyui.reader import read
from pipelines.runs.png_metadata import read_settings
from tests.helpers import foreign_pictures as made
from tests.helpers.comfy_graphs import (
    WIDGETS,
    changed,
    check_workflow,
    node,
    plain,
    settings,
    workflow,
)


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


def test_subgraphs() -> None:
    """The prompt and the seed come from outside, the latents leave."""
    inner = workflow({key: one for key, one in plain().items() if key in "34567"}, WIDGETS)
    encoder, sampler = (
        next(one for one in inner["nodes"] if one["id"] == number) for number in (6, 3)
    )
    encoder["widgets_values"], sampler["widgets_values"] = ["old"], [7, *WIDGETS["3"][1:]]
    encoder["inputs"].append({"name": "text", "widget": {"name": "text"}, "link": 90})
    sampler["inputs"].append({"name": "seed", "widget": {"name": "seed"}, "link": 91})
    inner |= {"id": "a-b-c", "inputs": [{"name": "words"}, {"name": "number"}]}
    inner["links"] += [[90, -10, 0, 6, 1, "STRING"], [91, -10, 1, 3, 4, "INT"]]
    inner["links"] += [[92, 3, 0, -20, 0, "LATENT"]]
    instance = {
        "id": 3, "type": "a-b-c", "mode": 0, "widgets_values": ["a fox"],
        "inputs": [{"name": "words", "widget": {"name": "words"}, "link": None},
                   {"name": "number", "link": 70}],
    }  # fmt: skip
    seed = {"id": 20, "type": "PrimitiveInt", "widgets_values": [42, "fixed"], "inputs": []}
    whole = workflow({key: one for key, one in plain().items() if key in "89"}, WIDGETS)
    whole["nodes"] += [instance, seed]
    whole["links"] += [[70, 20, 0, 3, 1, "INT"]]
    check_workflow({**whole, "definitions": {"subgraphs": [inner]}})


def test_subgraphs_that_hold_themselves() -> None:
    inner = {"id": "a", "nodes": [{"id": n, "type": "a"} for n in range(9)], "links": []}
    found = {**workflow(plain(), WIDGETS), "definitions": {"subgraphs": [inner]}}
    found["nodes"] = [*inner["nodes"], *found["nodes"]]
    assert read({"workflow": json.dumps(found)}) is not None


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
    for text in (both, json.dumps({"prompt": graph}), json.dumps({"workflow": editor})):
        comment = made.user_comment(text, "unicode", "utf-16-be", ">")
        assert read_settings(made.with_exif(tmp_path / "a.jpg", comment))["prompts"] == ["a fox"]


def test_not_a_number(tmp_path: Path) -> None:
    graph = changed(plain(), "9", is_changed=[float("nan")])
    path = made.png(tmp_path / "a.png", {"prompt": json.dumps(graph)})
    assert read_settings(path)["prompts"] == ["a fox"]
