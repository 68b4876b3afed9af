"""LoRAs are found, refused and read from text with clear messages, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

import app
from pipelines import (
    Axis,
    InvalidRequest,
    LoRA,
    ModelUnavailable,
    Request,
    Sheet,
    Studio,
    UnknownName,
)  # fmt: skip
from pipelines.checkpoints.identification.lora_names import LORA_ENDINGS
from pipelines.checkpoints.lora_state_dict import deltas
from pipelines.checkpoints.loras import WEIGHTS, find
from pipelines.checkpoints.single_file_catalog import recognise_file
from pipelines.families import FAMILIES
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.png_metadata import read_request, settings_text
from tests.helpers.lora_makers import save_with_loras

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(model="tiny", prompt="an apple", steps=2, width=32, height=32)
CROSS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
UNET = {"unet": {"layers_per_block": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_with_loras(tmp_path_factory.mktemp("loras"))


def test_what_does_not_fit_is_refused_before_loading(folder: Path, tmp_path: Path) -> None:
    studio = Studio([folder, tmp_path], device="cpu")
    for name in ("broken", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / WEIGHTS).write_bytes((folder / "tiny-one" / WEIGHTS).read_bytes()[:-1])
    save_file({"x": torch.zeros(2)}, tmp_path / "empty" / WEIGHTS)
    (tmp_path / "ink.ckpt").write_bytes(b"")
    tensors = load_file(folder / "tiny-two" / WEIGHTS)
    key = next(key for key in tensors if "conv1.lora_B" in key)
    save_file({**tensors, key.replace("lora_B", "lora_magnitude_vector"): torch.zeros(1)},
              tmp_path / "dora.safetensors")  # fmt: skip
    save_file({**tensors, key: torch.zeros(3, 2, 1, 1)}, tmp_path / "odd.safetensors")
    cases: list[tuple[str, type[Exception], str]] = [
        ("xl-one", InvalidRequest, r"'xl-one' does not fit 'tiny': .*; these here fit: tiny-one, "),
        ("odd", InvalidRequest, r"conv1 is for 3 × \d+ numbers, that model's has \d+ × \d+"),
        ("dora", ModelUnavailable, "is no plain LoRA but a DoRA"),
        ("broken", ModelUnavailable, "is damaged"),
        ("empty", ModelUnavailable, "has no LoRA's tensors"),
        ("tiny-oen", UnknownName, "unknown LoRA 'tiny-oen'; did you mean 'tiny-one'"),
        (str(tmp_path / "ink.ckpt"), ModelUnavailable, "is a pickle"),
    ]
    for name, kind, message in cases:
        with pytest.raises(kind, match=message):
            studio.resolve(BASE.replace(loras=[LoRA(name=name)]))
    assert studio.manager.cached_bytes == 0, "headers tell"
    assert [info.id for info in studio.loras("tiny")] == ["tiny-one", "tiny-two"]
    assert {i.id: bool(i.problem) for i in studio.loras()}["broken"]
    by_path = studio.resolve(BASE.replace(loras=[str(folder / "tiny-one")]))
    assert by_path.loras[0].name == (folder / "tiny-one" / WEIGHTS).as_posix()
    studio.close()


@pytest.mark.parametrize(
    ("text", "name", "scale"),
    [("ink", "ink", 1.0), ("ink:0.5", "ink", 0.5), ("a:b", "a:b", 1.0), ("c:-2", "c", -2.0)],
)
def test_loras_from_text(text: str, name: str, scale: float) -> None:
    lora = LoRA.model_validate(text)
    assert (lora.name, lora.scale) == (name, scale)
    assert LoRA.model_validate(lora.text) == lora
    request = BASE.replace(loras=[text])
    assert Request.from_json(request.to_json()) == request
    assert settings_text(request).startswith(f"an apple <lora:{name}:{scale:g}>\n")


def test_axes_of_loras() -> None:
    base = BASE.replace(loras=["ink:0.3"])
    both = Sheet(
        base=base, axes=(parse_axis("lora=none,oil,pen:2"), parse_axis("lora2=none,ink"))
    ).expand()
    assert [" ".join(map(str, cell.loras)) for cell in both] == [
        "", "ink:1", "oil:0.3", "oil:0.3 ink:1", "pen:2", "pen:2 ink:1"
    ]  # fmt: skip
    for axis, message in (
        ("lora3=ink", "changes LoRA 3, but there is 1 LoRA; add it"),
        ("lora2_scale=1", "changes LoRA 2, but there is 1 LoRA; add it"),
        ("lora_scale=5", "LoRA scale is 5.0; it must be a number from -4 to 4"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            Sheet(base=base, axes=(parse_axis(axis),)).expand()
    with pytest.raises(UnknownName, match="unknown axis 'loras'"):
        Axis(field="loras", values=("ink",))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app.app, [str(one) for one in arguments])


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    settings = ["--models", folder, "--model", "tiny", "--steps", 2, "--sampler", "ddim"]
    out = tmp_path / "a.png"
    made = call("generate", "x", *settings, "--lora", "tiny-one:0.5", "--lora", "tiny-two",
                "--out", out)  # fmt: skip
    assert made.exit_code == 0, made.output
    with Image.open(out) as picture:
        request = read_request(picture)
        assert "<lora:tiny-one:0.5> <lora:tiny-two:1>" in picture.info["parameters"]
    assert request is not None
    assert request.loras == (LoRA(name="tiny-one", scale=0.5), LoRA(name="tiny-two"))
    sheet = call("sheet", "x", *settings, "--lora", "tiny-one", "--axis", "lora_scale=0,1", "--out",
                 tmp_path / "s", "--outputs", tmp_path / "o")  # fmt: skip
    assert sheet.exit_code == 0, sheet.output
    cells = json.loads((tmp_path / "s" / "sheet.json").read_text())["cells"]
    assert [c["request"]["loras"][0]["scale"] for c in cells] == [0.0, 1.0]
    listed = json.loads(call("models", "--models", folder, "--json").stdout)
    assert {row["id"] for row in listed if row["kind"] == "lora"} == {
        "tiny-one", "tiny-two", "xl-one", "xl-two"
    }  # fmt: skip
    for text, message in (("xl-one", "these here fit: tiny-one, tiny-two"),
                          ("tiny-one:9", "LoRA scale is '9'; it must be a number from -4 to 4"),
                          ("tiny-oen", "did you mean 'tiny-one'")):  # fmt: skip
        bad = call("generate", "x", *settings, "--lora", text, "--out", tmp_path / "b.png")
        assert bad.exit_code == 2 and message in bad.stderr, bad.output
        assert bad.stderr.count("\n") == 1 and not (tmp_path / "b.png").exists()


LAYERS = {
    ".lora_down.weight": "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q",
    ".lora_A.weight": f"unet.{CROSS}.to_q",
    ".lora_A.default.weight": f"unet.{CROSS}.to_q",
    ".lora.down.weight": f"unet.{CROSS}.to_q",
    "_lora.down.weight": f"unet.{CROSS}.processor.to_q",
    ".lora_linear_layer.down.weight": "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
    "_lora1.down.weight": "double_blocks.0.processor.proj",
    "_lora2.down.weight": "double_blocks.0.processor.proj",
}
"""How the narrowing half of a layer's LoRA may end, and a layer's name in that layout."""


def halves(ending: str, rank: int, width: int) -> dict[str, torch.Tensor]:
    """Both halves of a layer, named as in files whose narrowing halves end so."""
    wide = ending.replace("lora_down", "lora_up").replace("lora_A", "lora_B")
    wide = wide.replace(".down.", ".up.")
    layer = LAYERS[ending]
    return {layer + ending: torch.ones(rank, width), layer + wide: torch.ones(width, rank)}


@pytest.mark.parametrize("ending", sorted({*LAYERS, *LORA_ENDINGS}))
def test_the_list_identification_and_the_reader_know_the_same_endings(
    tmp_path: Path, ending: str
) -> None:
    file = tmp_path / "style.safetensors"
    tensors = halves(ending, 2, 8)
    save_file(tensors, file)
    assert recognise_file(file).kind == "lora"
    (info,) = find([tmp_path])
    assert (info.id, info.source, info.problem) == ("style", "lora", None)
    family, configs = ("flux", {}) if "lora1" in ending or "lora2" in ending else ("sd", UNET)
    (delta,) = deltas(file, tensors, FAMILIES[family], configs).values()
    assert delta.down.shape == (2, 8) and delta.up.shape == (8, 2)


def test_every_lora_in_a_file_is_listed_once(tmp_path: Path) -> None:
    for number, ending in enumerate(LAYERS):
        save_file(halves(ending, 2, 8), tmp_path / f"style-{number}.safetensors")
    save_file({"lora_unet_x.hada_w1_a": torch.zeros(8, 2)}, tmp_path / "loha.safetensors")
    rows = json.loads(call("models", "--models", tmp_path, "--json").stdout)
    listed = [(row["id"], row["kind"], row["source"]) for row in rows]
    names = ["loha", *(f"style-{number}" for number in range(len(LAYERS)))]
    assert sorted(listed) == [(name, "lora", "lora") for name in names]
    assert {row["id"] for row in rows if row["problem"]} == {"loha"}
