"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import app
from pipelines import Request, Studio
from pipelines.runs.png_metadata import read_request
from pipelines.samplers import SAMPLERS

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(app.__file__).parent
UNET = "unet/diffusion_pytorch_model.safetensors"
QUICK = ["--steps", "2", "--device", "cpu"]


def call(*arguments):
    return CliRunner().invoke(app.app, [str(a) for a in arguments])


def process(*arguments, cwd=ROOT):
    """The real thing, in a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, cwd=cwd, check=False,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def one_line(text):
    """The error, which must be the only line."""
    assert text.endswith("\n") and text.count("\n") == 1, text
    assert text.startswith("error: ")
    return text.removeprefix("error: ").strip()


@pytest.fixture
def shop(shelf):
    """A models folder with one good model and one of every bad kind."""
    folder, add = shelf
    add("tiny")
    (add("cut") / UNET).write_bytes((folder / "tiny" / UNET).read_bytes()[:-100])
    index = add("foreign") / "model_index.json"
    index.write_text(index.read_text().replace('"diffusers",\n    "UNet2', '"os",\n    "UNet2'))
    assert '"os"' in index.read_text()
    weights = add("pickled") / UNET
    weights.rename(weights.with_suffix(".bin"))
    return folder


BAD = {
    "sampler": (["--sampler", "eulr"], "unknown sampler 'eulr'; did you mean 'euler'?"),
    "schedule": (["--schedule", "karas"], "unknown schedule 'karas'; did you mean 'karras'?"),
    "pair": (["--sampler", "lcm", "--schedule", "karras"], "'lcm' has no schedule 'karras'"),
    "model": (["--model", "tinny"], "unknown model 'tinny'; did you mean 'tiny'?"),
    "long model": (["--model", "x" * 5000], "unknown model"),
    "steps": (["--steps", "0"], "steps is 0; it must be a whole number from 1 to 1000"),
    "guidance": (["--cfg", "-101"], "guidance_scale is -101.0; it must be a number from -100"),
    "guidance nan": (["--guidance-scale", "nan"], "guidance_scale is nan; it must be a number"),
    "rescale": (["--guidance-rescale", "2"], "guidance_rescale is 2.0; it must be"),
    "width": (["--width", "33"], "width is 33; this model takes multiples of 4"),
    "height": (["--height", "4"], "height is 4; it must be a whole number of pixels from 8"),
    "seed below": (["--seed", "-2"], "seed is -2; it must be a whole number from 0 to"),
    "seed above": (["--seed", 2**63], "seed is 9223372036854775808; it must be a whole number"),
    "clip skip": (["--clip-skip", "2"], "clip_skip is 2; 'tiny' takes 0 to 1"),
    "lora tag": (["--negative-prompt", "b", "--lora", "nobody"], "unknown LoRA 'nobody'"),
    "ckpt": (["--model", "model.ckpt"], "model.ckpt is a pickle checkpoint"),
    "bin": (["--model", "dir/model.BIN"], "is a pickle checkpoint"),
    "pickled": (["--model", "pickled"], "has weights only as pickles"),
    "corrupt": (["--model", "cut"], "is damaged: it has"),
    "foreign": (["--model", "foreign"], "os.UNet2DConditionModel for 'unet'; only classes of"),
    "lcm": (["--sampler", "lcm", "--steps", "51"], "sampler 'lcm' cannot do 51 steps"),
    "flow": (["--sampler", "flow_euler"], "sampler 'flow_euler' does not fit 'tiny'"),
    "prompt": (["--negative-prompt", "x" * 4001], "has 4001 characters; at most 4000"),
    "device": (["--device", "toaster"], "device 'toaster'"),
    "memory": (["--memory", "0"], "memory is 0 GB; it must be more than 0"),
    "models": (["--models", "nowhere"], "models folder nowhere does not exist"),
    "no number": (["--steps", "many"], "Invalid value for '--steps': "),
    "no option": (["--stepps", "5"], "No such option: --stepps"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_one_line_and_nothing_written(shop, tmp_path, name):
    options, message = BAD[name]
    before = files(tmp_path)
    result = call(
        "generate", "an apple", "--models", shop, "--model", "tiny", *QUICK, *options,
        "--out", tmp_path / "new" / "a.png",
    )  # fmt: skip
    assert result.exit_code == 2, result.output
    assert message in one_line(result.stderr)
    assert result.stdout == "" and files(tmp_path) == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("a.jpg", "does not end in .png"),
        ("a", "does not end in .png"),
        ("folder.png", "is a folder"),
        ("file/a.png", "cannot be written"),
        ("file/deep/a.png", "cannot be written"),
        ("x" * 300 + ".png", "cannot be written"),
    ],
    ids=lambda v: v[:12],
)
def test_places_that_cannot_be_written(models, tmp_path, out, message):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.png").mkdir()
    before = files(tmp_path)
    result = call("generate", "", "--models", models, "--model", "tiny", "--out", tmp_path / out)
    assert result.exit_code == 2
    assert message in one_line(result.stderr)
    assert files(tmp_path) == before and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "x", "--sampler", "eulr", "--out", "a.png"],
        ["generate", "x", "--model", "tinny", "--out", "a.png"],
        ["generate", "x", "--out", "a.jpg"],
        ["generate", "x"],
        ["models", "--models", "nowhere"],
        ["info", "nothing.png"],
        ["genrate", "x"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_bad_input_in_a_real_process(tmp_path, arguments):
    result = process(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    one_line(result.stderr)
    assert result.stdout == "" and files(tmp_path) == []


def test_help_lists_the_commands():
    result = process("--help")
    assert result.returncode == 0 and result.stderr == ""
    for command in ("serve", "generate", "models", "samplers", "info"):
        assert f"\n  {command} " in result.stdout


def test_generate_writes_the_picture_of_its_request(models, tmp_path):
    out = tmp_path / "new" / "folder" / "apple.png"
    result = call(
        "generate", "größe, \"q\"", "--negative-prompt", "dark", "--models", models,
        "--model", "tiny", "--sampler", "Euler", "--schedule", "karras", "--steps", "3",
        "--guidance-scale", "2.5", "--guidance-rescale", "0.5", "--seed", "7", "--width", "40",
        "--height", "32", "--device", "cpu", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "") == str(out)
    request = Request(
        model="tiny", prompt='größe, "q"', negative_prompt="dark", sampler="euler",
        schedule="karras", steps=3, guidance_scale=2.5, guidance_rescale=0.5, seed=7, width=40,
        height=32,
    )  # fmt: skip
    assert files(tmp_path) == ["new", "new/folder", "new/folder/apple.png"]
    with Image.open(out) as image:
        assert image.format == "PNG" and image.size == (40, 32)
        assert read_request(image) == request
        assert image.tobytes() == Studio(models, device="cpu").image(request).tobytes()
    result = call("info", out)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == request.model_dump()


def test_what_is_not_said_comes_from_the_defaults(models, tmp_path):
    out = tmp_path / "a.PNG"
    result = call("generate", "", "--models", models, "--model", "tiny", *QUICK, "--out", out)
    assert result.exit_code == 0, "an empty prompt is allowed"
    wanted = Request(model="tiny", steps=2, width=32, height=32)
    assert json.loads(call("info", out).stdout) == wanted.model_dump()


def test_a_model_by_its_folder(models, tmp_path):
    out = tmp_path / "a.png"
    result = call("generate", "x", "--model", models / "twin", *QUICK, "--out", out)
    assert result.exit_code == 0
    with Image.open(out) as image:
        same = Studio(models, device="cpu").image(Request(model="twin", prompt="x", steps=2))
        assert image.tobytes() == same.tobytes()


def test_an_old_picture_is_replaced_whole(models, tmp_path):
    out = tmp_path / "a.png"
    out.write_text("old")
    call("generate", "x", "--models", models, "--model", "tiny", *QUICK, "--out", out)
    with Image.open(out) as image:
        image.load()
    assert files(tmp_path) == ["a.png"]


def test_a_cell_that_fails_ends_with_1(shop, tmp_path):
    tensors = load_file(shop / "tiny" / UNET)
    tensors["conv_out.bias"] = torch.full_like(tensors["conv_out.bias"], float("nan"))
    save_file(tensors, shop / "tiny" / UNET, metadata={"format": "pt"})
    before = files(tmp_path)
    result = call(
        "generate", "x", "--models", shop, "--model", "tiny", *QUICK, "--out", tmp_path / "a.png"
    )
    assert result.exit_code == 1
    assert "overflowed" in result.stderr.splitlines()[-1]
    assert result.stdout == "" and files(tmp_path) == before


def test_too_little_memory_ends_with_1(models, tmp_path):
    out = tmp_path / "a.png"
    result = call(
        "generate", "x", "--models", models, "--model", "tiny", *QUICK, "--memory", "0.0001",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 1 and "--memory" in result.stderr and not out.exists()


def test_samplers_for_machines():
    rows = json.loads(call("samplers", "--json").stdout)
    assert [row["id"] for row in rows] == list(SAMPLERS)
    for row in rows:
        known = SAMPLERS[row["id"]]
        assert (row["label"], row["order"], row["stochastic"]) == (
            known.label, known.order, known.stochastic,
        )  # fmt: skip
        assert row["schedules"] == list(known.schedules)
        assert row["evaluations at 20 steps"] == known.evaluations(20)


def test_samplers_for_people():
    result = call("samplers")
    assert result.exit_code == 0
    assert all(row.label in result.stdout for row in SAMPLERS.values())


def test_models_for_machines(shop):
    result = call("models", "--models", shop, "--json")
    assert result.exit_code == 0
    rows = {row["id"]: row for row in json.loads(result.stdout)}
    assert set(rows) == {"tiny", "cut", "foreign", "pickled"}
    assert rows["tiny"]["problem"] is None and rows["tiny"]["family"] == "sd"
    assert rows["tiny"]["folder"] == str(shop / "tiny") and rows["tiny"]["megabytes"] > 0
    assert "is damaged" in rows["cut"]["problem"]
    assert "only classes of diffusers" in rows["foreign"]["problem"]
    assert "only as pickles" in rows["pickled"]["problem"]


def test_models_say_what_they_can_do(shop):
    rows = {row["id"]: row for row in json.loads(call("models", "--models", shop, "--json").stdout)}
    tiny, cut = rows["tiny"], rows["cut"]
    assert (tiny["kind"], tiny["size"], tiny["guidance"]) == (
        "diffusion", "32x32", "classifier free",
    )  # fmt: skip
    assert tiny["negative_prompt"] is True and tiny["distilled_guidance"] is None
    assert tiny["samplers"] == [r.id for r in SAMPLERS.values() if r.kind == "diffusion"]
    assert cut["kind"] is None and cut["samplers"] == []


def test_distilled_guidance_is_refused_where_there_is_none(shop, tmp_path):
    result = call(
        "generate", "x", "--models", shop, "--model", "tiny", *QUICK,
        "--distilled-guidance", "3.5", "--out", tmp_path / "a.png",
    )  # fmt: skip
    assert result.exit_code == 2 and "'tiny' takes none" in result.stderr


def test_models_for_people(models, tmp_path, monkeypatch):
    result = call("models", "--models", models)
    head, *rows = result.stdout.splitlines()
    assert {"tiny", "tinyv", "twin"} <= {row.split(" ")[0] for row in rows}
    assert "negative prompt" in head and "distilled" not in head, "none of them takes that"
    monkeypatch.chdir(models)
    assert str(models) not in call("models", "--models", models).stdout
    result = call("models", "--models", tmp_path)
    assert result.exit_code == 0 and "none found" in result.stderr
    assert json.loads(call("models", "--models", tmp_path, "--json").stdout) == []


def test_info_of_what_carries_nothing(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("text")
    for name, message in (("plain.png", "no settings"), ("text.png", "cannot be read")):
        result = call("info", tmp_path / name)
        assert result.exit_code == 2 and message in one_line(result.stderr)


def test_sheet_writes_grid_cells_and_json(shop, tmp_path):
    out = tmp_path / "sheet"
    arguments = [
        "sheet", "an apple", "--model", "tiny", "--models", shop, *QUICK,
        "--axis", "guidance_scale=1,3", "--axis", "sampler=ddim,euler_a", "--out", out,
        "--outputs", tmp_path / "outputs",
    ]  # fmt: skip
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    contents = json.loads((out / "sheet.json").read_text())
    assert [cell["index"] for cell in contents["cells"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    asked = [(c["request"]["guidance_scale"], c["request"]["sampler"]) for c in contents["cells"]]
    assert asked == [(1, "ddim"), (1, "euler_a"), (3, "ddim"), (3, "euler_a")]
    stats = contents["stats"]
    assert (stats["cells"], stats["cells_cached"]) == (4, 0)
    assert 0 < stats["rows_computed"] < stats["rows_naive"] == 2 * (1 + 1 + 2 + 2)
    studio = Studio(shop, device="cpu")
    for cell in contents["cells"]:
        with Image.open(out / cell["file"]) as picture:
            request = read_request(picture)
            assert request == Request(**cell["request"])
            assert picture.tobytes() == studio.image(request).tobytes()
    told = call("info", out / "sheet.png")
    assert told.exit_code == 0 and json.loads(told.stdout)["sheet"] == contents["sheet"]
    assert json.loads(told.stdout)["prompt"] == "an apple"
    # Again: nothing is computed, the same is written.
    again = call(*arguments)
    assert again.exit_code == 0 and "0 of 0 rows" in again.output
    repeated = json.loads((out / "sheet.json").read_text())
    assert all(cell["cached"] for cell in repeated["cells"])


def test_a_sheet_whose_grid_cannot_be_written_says_so_and_ends_with_1(shop, tmp_path):
    out = tmp_path / "sheet"
    (out / "sheet.png").mkdir(parents=True)
    result = call(
        "sheet", "an apple", "--model", "tiny", "--models", shop, *QUICK, "--axis", "seed=1,2",
        "--out", out, "--outputs", tmp_path / "outputs",
    )  # fmt: skip
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "sheet.png is not there" in errors[0]
    contents = json.loads((out / "sheet.json").read_text())
    assert all((out / cell["file"]).is_file() for cell in contents["cells"])
    assert result.stdout.endswith(f"{out / 'sheet.json'}\n")


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("steps=0,2", "steps is 0"),
        ("step=1,2", "did you mean 'steps'"),
        ("sampler=eulr", "did you mean 'euler'"),
        ("guidance_scale=1-x", "'1-x'"),
        ("width=33", "multiples of"),
        ("model=tiny,nosuch", "nosuch"),
    ],
)
def test_a_bad_axis_writes_nothing(shop, tmp_path, axis, said):
    result = call(
        "sheet", "x", "--model", "tiny", "--models", shop, *QUICK, "--axis", axis,
        "--out", tmp_path / "out", "--outputs", tmp_path / "outputs",
    )  # fmt: skip
    assert result.exit_code == 2
    assert said in one_line(result.stderr)
    assert not (tmp_path / "out").exists() and not (tmp_path / "outputs").exists()


def test_a_sheet_with_a_failing_cell_keeps_the_others_and_ends_with_1(shelf, tmp_path):
    folder, add = shelf
    add("tiny")
    weights = add("overflowing") / UNET
    tensors = load_file(weights)
    tensors["conv_out.bias"] = torch.full_like(tensors["conv_out.bias"], float("nan"))
    save_file(tensors, weights, metadata={"format": "pt"})
    out = tmp_path / "out"
    result = call(
        "sheet", "x", "--models", folder, *QUICK, "--axis", "model=tiny,overflowing",
        "--model", "tiny", "--out", out, "--outputs", tmp_path / "outputs",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "error: overflowing: " in result.stderr and "overflowed" in result.stderr
    made, failed = json.loads((out / "sheet.json").read_text())["cells"]
    assert (out / made["file"]).is_file() and made["error"] is None
    assert failed["file"] is None and "overflowed" in failed["error"]
