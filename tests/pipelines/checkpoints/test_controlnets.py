"""ControlNets are found, refused and chosen with clear messages, before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import app
from pipelines import (
    Axis,
    ContactSheetError,
    Control,
    InvalidRequest,
    ModelUnavailable,
    Request,
    Sheet,
    Studio,
    UnknownName,
)  # fmt: skip
from pipelines.checkpoints.controlnets import find, locate
from pipelines.model_manager.component_loader import measure
from pipelines.model_manager.manager import PipelineManager
from pipelines.runs.png_metadata import read_request
from tests.helpers.gates import loads_wait
from tests.helpers.tiny import controlnet
from ui.cli.control_option import parse_control

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICTURE = Image.new("RGB", (32, 32), "orange")


@pytest.fixture
def nets(controlnets: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with the good ControlNets."""
    folder = tmp_path / "nets"
    for name in ("canny", "depth"):
        shutil.copytree(controlnets / name, folder / name)
    return folder


@pytest.fixture
def studio(models: Path, nets: Path) -> Iterator[Studio]:
    studio = Studio([models, nets], device="cpu")
    studio.add_picture(PICTURE)
    yield studio
    studio.close()


def steered(studio: Studio, **fields: object) -> Request:
    control = Control(image=studio.add_picture(PICTURE), **fields)
    return Request(model="tiny", prompt="x", steps=1, controls=[control])


def test_controlnets_are_no_models(models: Path, controlnets: Path) -> None:
    studio = Studio([models, controlnets], device="cpu")
    assert [info.id for info in studio.models()] == ["tiny", "tinyv", "twin"]
    found = studio.controlnets()
    assert [info.id for info in found] == ["bgr", "canny", "depth", "pooled", "small", "wide"]
    assert all((info.kind, info.problem) == ("controlnet", None) for info in found)
    assert found[1].bytes == (controlnets / "canny" / WEIGHTS).stat().st_size
    assert [info.id for info in studio.controlnets("tiny")] == ["bgr", "canny", "depth", "pooled"]


def test_the_listing_says_what_is_wrong(nets: Path) -> None:
    (nets / "canny" / WEIGHTS).write_bytes((nets / "canny" / WEIGHTS).read_bytes()[:-1])
    (nets / "depth" / WEIGHTS).rename(nets / "depth" / "diffusion_pytorch_model.bin")
    for name, text in (("list", "[]"), ("text", "{"), ("clip", '{"architectures": ["CLIP"]}')):
        (nets / name).mkdir()
        (nets / name / "config.json").write_text(text)
    problems = {info.id: info.problem for info in find([nets])}
    assert set(problems) == {"canny", "depth"}, "the others are something else"
    assert "is damaged" in str(problems["canny"])
    assert "only as pickles" in str(problems["depth"])


REFUSED = [
    ("cany", UnknownName, "unknown ControlNet 'cany'; did you mean 'canny'?"),
    ("x" * 5000, UnknownName, "unknown ControlNet"),
    ("canny.pth", ModelUnavailable, "canny.pth is a pickle checkpoint"),
    ("wide", InvalidRequest, "text width (cross_attention_dim) is 24, the model's 16; these here "
     "fit: canny, depth"),
    ("small", InvalidRequest, "makes maps 2 times smaller, the model's latents are 4 times"),
    ("flux", InvalidRequest, "it is a FluxControlNetModel, sd models take ControlNetModel"),
    ("shallow", InvalidRequest, "does not fit 'tiny': its layers_per_block is 2, the model's 1"),
    ("bare", ModelUnavailable, "has a config but no safetensors weights"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "message"), REFUSED, ids=lambda v: str(v)[:8])
def test_what_does_not_fit_is_refused_with_what_does(
    studio: Studio, nets: Path, controlnets: Path, name: str, kind: type, message: str
) -> None:
    for other in ("wide", "small"):
        shutil.copytree(controlnets / other, nets / other)
    controlnet(layers_per_block=2).save_pretrained(nets / "shallow")
    shutil.copytree(nets / "canny", nets / "flux")
    config = json.loads((nets / "flux" / "config.json").read_text())
    config["_class_name"] = "FluxControlNetModel"
    (nets / "flux" / "config.json").write_text(json.dumps(config))
    (nets / "bare").mkdir()
    shutil.copy(nets / "canny" / "config.json", nets / "bare")
    with pytest.raises(ContactSheetError) as error:
        studio.resolve(steered(studio, model=name))
    assert type(error.value) is kind and message in str(error.value)
    assert studio.manager.history == []


def test_other_refusals(studio: Studio) -> None:
    request = steered(studio, model="canny")
    unknown = request.controls[0].replace(image="0" * 32)
    with pytest.raises(UnknownName, match="picture 000000000000… is not here; add it first"):
        studio.resolve(request.replace(controls=[unknown]))
    with pytest.raises(UnknownName, match="unknown preprocessor 'kany'"):
        studio.resolve(steered(studio, model="canny", preprocessor="kany"))
    with pytest.raises(ContactSheetError, match="'sparkle'"):
        studio.resolve(steered(studio, model="canny", parameters={"sparkle": 1}))


def test_a_controlnet_is_chosen_where_it_is_clear(studio: Studio, nets: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"name one with model=… \(canny, depth\)"):
        studio.resolve(steered(studio))
    shutil.rmtree(nets / "depth")
    assert studio.resolve(steered(studio)).controls[0].model == "canny"
    by_path = studio.resolve(steered(studio, model=str(nets / "canny")))
    assert by_path.controls[0].model == (nets / "canny").as_posix()
    assert studio.image(by_path).tobytes() == studio.image(steered(studio)).tobytes()
    shutil.rmtree(nets / "canny")
    with pytest.raises(InvalidRequest, match=r"name one with model=… \(none is here\)"):
        studio.resolve(steered(studio))


def test_one_that_goes_before_its_turn_fails_its_cells_alone(studio: Studio, nets: Path) -> None:
    base = studio.resolve(steered(studio, model="canny"))
    sheet = Sheet(base=base, axes=(Axis(field="control_model", values=("canny", "depth")),))
    with loads_wait():  # the worker waits with another run
        before = studio.submit(Sheet(base=Request(prompt="x", model="tiny", steps=1)))
        run = studio.submit(sheet)
        shutil.rmtree(nets / "depth")
    assert all(True for _ in run.watch()) and before.snapshot().finished
    made, failed = run.snapshot().cells
    assert made.status == "done" and failed.status == "failed"
    assert "unknown ControlNet 'depth'" in str(failed.error)


def test_an_empty_map_fails_its_cells_and_says_why(studio: Studio) -> None:
    blank = studio.add_picture(Image.new("RGB", (32, 32)))
    drawn = steered(studio, model="canny").controls[0]
    base = studio.resolve(steered(studio, model="canny"))
    axes = (Axis(field="control_image", values=(drawn.image, blank)),)
    run = studio.submit(Sheet(base=base, axes=axes))
    assert all(True for _ in run.watch())
    made, failed = run.snapshot().cells
    assert made.status == "done" and failed.status == "failed"
    assert f"of picture {blank[:8]} is empty (all black)" in str(failed.error)
    colours = drawn.replace(image=blank, preprocessor="color", parameters={})
    assert studio.image(base.replace(controls=[colours])), "black is a colour"


def test_bytes_are_counted_and_what_is_idle_goes(models: Path, nets: Path) -> None:
    manager = PipelineManager([models, nets], device="cpu", budget=10**9)
    with manager.use("tiny", ["canny", "depth"]) as model:
        assert set(model.controlnets) == {"canny", "depth"}
        assert not {"canny", "depth"} & set(model.components)
        size = measure(model.controlnets["canny"])
    loading = manager.history[0]
    assert loading.loaded["controlnet canny"] == size > 0
    whole = manager.cached_bytes
    assert whole == sum(loading.loaded.values())
    with manager.use("twin"):
        pass
    assert manager.free_idle() and manager.cached_bytes == 0


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app.app, [str(a) for a in arguments])


@pytest.fixture
def shop(models: Path, nets: Path, tmp_path: Path) -> list[object]:
    """The flags of a small picture from these models; the picture to steer by lies beside."""
    PICTURE.save(tmp_path / "a.png")
    Image.new("RGB", (32, 32), "navy").save(tmp_path / "b.png")
    return ["--models", models, "--models", nets, "--model", "tiny", "--steps", 1,
            "--device", "cpu"]  # fmt: skip


def test_generate_with_a_control(shop: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    text = f"{tmp_path / 'a.png'}:none:strength=0.8,stop=0.6,model=canny,mode=prompt"
    result = call("generate", "x", *shop, "--control", text, "--out", out)
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        request = read_request(image)
    assert request is not None
    (control,) = request.controls
    assert (control.strength, control.stop, control.model, control.mode) == (
        0.8, 0.6, "canny", "prompt"
    )  # fmt: skip
    told = json.loads(call("info", out).stdout)
    assert told["controls"][0]["strength"] == 0.8


def test_sheet_with_controls(shop: list[object], tmp_path: Path) -> None:
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    result = call(
        "sheet", "x", *shop, "--control", f"{a}::model=canny", "--control", f"{a}::model=depth",
        "--axis", "control_strength=0,1", "--axis", f"control2_image={a},{b}",
        "--out", tmp_path / "out", "--outputs", tmp_path / "kept",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    contents = json.loads((tmp_path / "out" / "sheet.json").read_text())
    assert [cell["error"] for cell in contents["cells"]] == [None] * 4
    controls = [cell["request"]["controls"] for cell in contents["cells"]]
    assert [one[0]["strength"] for one in controls] == [0.0, 0.0, 1.0, 1.0]
    assert len({one[1]["image"] for one in controls}) == 2
    assert len(list((tmp_path / "kept" / "sources").rglob("*.png"))) == 2
    assert contents["stats"]["control_rows"] > 0


def test_models_lists_controlnets(nets: Path, models: Path) -> None:
    rows = json.loads(call("models", "--models", models, "--models", nets, "--json").stdout)
    assert {row["id"] for row in rows} == {"tiny", "tinyv", "twin", "canny", "depth"}
    assert {row["id"] for row in rows if row["kind"] == "controlnet"} == {"canny", "depth"}


PARSED = [
    ("a.png", "a.png", {"preprocessor": "none", "parameters": {}}),
    ("a.png:canny", "a.png", {"preprocessor": "canny", "parameters": {}}),
    ("C:\\my pics\\a.png:canny", "C:\\my pics\\a.png", {"preprocessor": "canny", "parameters": {}}),
    ("a:b.png:canny", "a:b.png", {"preprocessor": "canny", "parameters": {}}),
    (
        "a.png:canny:low-threshold=100, sharp=true,strength=1,model=x/y:z",
        "a.png",
        {"preprocessor": "canny", "strength": 1, "model": "x/y:z",
         "parameters": {"low_threshold": 100, "sharp": True}},
    ),
    ('a.png::label="x, y",model="1"', None, None),
    ('a.png::"label=x, y",model=1', "a.png",
     {"preprocessor": "none", "model": "1", "parameters": {"label": "x, y"}}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "file", "fields"), PARSED, ids=lambda v: str(v)[:20])
def test_the_grammar_of_a_control(text: str, file: str | None, fields: dict | None) -> None:
    if file is None:
        with pytest.raises(InvalidRequest):
            parse_control(text)
    else:
        assert parse_control(text) == (file, fields)


BAD = [
    ("", "names no picture"),
    (":canny", ":canny does not exist"),
    ("nothing.png:none", "nothing.png does not exist"),
    ("PIC:none:strength", "'strength' is no setting; write name=value"),
    ("PIC:none:strength=", "'strength=' is no setting"),
    ("PIC:none:strength=1,,stop=1", "empty value"),
    ("PIC:none:strength=1,strength=2", "gives strength twice"),
    ("PIC:none:strength=strong", "control strength is 'strong'; it must be a number from 0 to 2"),
    ("PIC:none:strength=3", "control strength is 3"),
    ("PIC:none:start=0.5,stop=0.2", "control start 0.5 is after control stop 0.2"),
    ("PIC:kany:model=canny", "unknown preprocessor 'kany'"),
    ("PIC:none:model=cany", "unknown ControlNet 'cany'; did you mean 'canny'?"),
    ("PIC:none", "name one with model=… (canny, depth)"),
    ("PIC:none:model=canny,sparkle=1", "sparkle"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=lambda v: str(v)[:30])
def test_bad_controls_end_with_one_line_and_nothing_written(
    shop: list[object], tmp_path: Path, text: str, message: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    text = text.replace("PIC", str(tmp_path / "a.png"))
    result = call("generate", "x", *shop, "--control", text, "--out", tmp_path / "new" / "a.png")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_single_file_is_refused_with_what_to_give(controlnets: Path, tmp_path: Path) -> None:
    whole = controlnets / "canny" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(ModelUnavailable, match="is a single file; ControlNets are read from fol"):
        locate(str(whole), [controlnets])
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(ModelUnavailable, match="is damaged"):
        locate(str(cut), [controlnets])
