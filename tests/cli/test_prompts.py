"""The command line's words on prompts: what is not read, what is left out, names and seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

import app
from pipelines import Request, Studio
from pipelines.runs.png_metadata import read_request

pytestmark = pytest.mark.usefixtures("one_thread")
UNET = "unet/diffusion_pytorch_model.safetensors"
LONG = "a b " * 40


def call(models: Path, out: Path, command: str, prompt: str, *arguments: object) -> Result:
    given = [command, prompt, "--models", models, "--model", "tiny", "--device", "cpu",
             "--steps", "2", "--out", out, *arguments]  # fmt: skip
    return CliRunner().invoke(app.app, [str(one) for one in given])


def sheet(models: Path, tmp_path: Path, prompt: str, *arguments: object) -> Result:
    out = ("--outputs", tmp_path / "outputs")
    return call(models, tmp_path / "sheet", "sheet", prompt, *out, *arguments)


def written(tmp_path: Path) -> list[dict[str, object]]:
    cells: list[dict[str, object]] = json.loads((tmp_path / "sheet" / "sheet.json").read_text())[
        "cells"
    ]
    return cells


def warnings(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


def test_what_is_not_read_is_said_for_axis_values_too(models: Path, tmp_path: Path) -> None:
    result = sheet(
        models, tmp_path, "an apple", "--axis", f'prompt=an apple,"{LONG} cat","{LONG} dog"'
    )
    assert result.exit_code == 0, result.output
    found = warnings(result)
    assert len(found) == 3 and "cat' is not read" in found[0] and "dog' is not read" in found[1]
    assert "the same picture, to the bit, as" in found[2]
    cells = written(tmp_path)
    assert [len(cell["warnings"]) for cell in cells] == [0, 1, 2]  # type: ignore[arg-type]
    result = call(models, tmp_path / "a.png", "generate", f"{LONG} [cat:cow:0.5]")
    assert result.exit_code == 0 and len(warnings(result)) == 2


def test_a_prompt_that_is_read_prints_no_warning(models: Path, tmp_path: Path) -> None:
    result = sheet(models, tmp_path, "an [apple:pear:1]", "--axis", "prompt_replace=an,a AND b")
    assert result.exit_code == 0 and warnings(result) == []
    assert [cell["warnings"] for cell in written(tmp_path)] == [[], []]


def test_misfits_are_left_out_if_asked(models: Path, tmp_path: Path) -> None:
    axes = ("--axis", "sampler=ddim,euler", "--axis", "schedule=default,karras")
    result = sheet(models, tmp_path, "an apple", *axes)
    assert result.exit_code == 2 and not (tmp_path / "sheet").exists()
    result = sheet(models, tmp_path, "an apple", *axes, "--skip-misfits")
    assert result.exit_code == 0, result.output
    assert "left out: DDIM, karras (sampler 'ddim' has no schedule 'karras'" in result.stderr
    made = [(c["request"]["sampler"], c["request"]["schedule"]) for c in written(tmp_path)]  # type: ignore[index]
    assert made == [("ddim", "default"), ("euler", "default"), ("euler", "karras")]


def test_errors_name_the_setting(shelf, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, add = shelf
    add("tiny")
    weights = add("broken") / UNET
    state = load_file(weights)
    state["conv_out.bias"] = torch.full_like(state["conv_out.bias"], math.inf)
    save_file(state, weights, metadata={"format": "pt"})
    result = sheet(
        folder, tmp_path, "an apple", "--axis", "model=tiny,broken", "--axis", "seed=4,5"
    )
    assert result.exit_code == 1
    assert "error: broken, seed 4: numbers overflowed" in result.stderr
    assert "error: broken, seed 5: numbers overflowed" in result.stderr
    assert "cell 2" not in result.stderr


@pytest.mark.parametrize("seed", [2**63 - 1, 2**32, -1])
def test_any_seed(models: Path, tmp_path: Path, seed: int) -> None:
    out = tmp_path / "a.png"
    result = call(models, out, "generate", "an apple", "--seed", seed, "--sampler", "dpmpp_sde")
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        image.load()
        request = read_request(image)
    assert request is not None and (request.seed == seed or (seed == -1 and request.seed >= 0))
    # The picture can be made again from what it carries.
    assert Studio(models, device="cpu").image(request).tobytes() == image.tobytes()
    assert read_request(image).seed == request.seed  # type: ignore[union-attr]


def test_a_random_seed_is_one_for_the_sheet(models: Path, tmp_path: Path) -> None:
    result = sheet(models, tmp_path, "an apple", "--seed", "-1", "--axis", "cfg=-2,1,4")
    assert result.exit_code == 0, result.output
    requests = [Request(**cell["request"]) for cell in written(tmp_path)]  # type: ignore[arg-type]
    assert len({one.seed for one in requests}) == 1 and requests[0].seed >= 0
    assert [one.guidance_scale for one in requests] == [-2.0, 1.0, 4.0]
    base = json.loads((tmp_path / "sheet" / "sheet.json").read_text())["sheet"]["base"]
    assert base["seed"] == requests[0].seed


def test_other_tools_names_are_options(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    result = call(
        models, out, "generate", "an apple", "--cfg-scale", "-3", "--scheduler", "karras",
        "--sampler", "euler", "--clip-skip", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        image.load()
        request = read_request(image)
    assert request is not None
    assert (request.guidance_scale, request.schedule, request.clip_skip) == (-3.0, "karras", 1)
    assert "Clip skip: 2" in image.text["parameters"]
