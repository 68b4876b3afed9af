"""Models are refused with a clear message before anything of them is loaded."""

from __future__ import annotations

import json
import os
import shutil
import struct

import pytest

from pipelines.checkpoints.catalog import find, locate
from pipelines.checkpoints.diffusers_folder import variant_of, weight_files
from pipelines.checkpoints.formats import tensor_files
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.errors import ContactSheetError, ModelUnavailable, UnknownName
from pipelines.model_manager.component import sizes

UNET = "unet/diffusion_pytorch_model.safetensors"


def refused(name, folder, kind=ModelUnavailable):
    with pytest.raises(ContactSheetError) as error:
        locate(str(name), [folder])
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def listed(folder, name):
    """The problem that the listing shows for a model."""
    return {info.id: info for info in find([folder])}[name].problem


def write_index(model, **entries):
    path = model / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_good_models_are_found(models):
    found = find([models])
    assert [info.id for info in found] == ["tiny", "tinyv", "twin"]
    assert all(info.problem is None and info.family == "sd" for info in found)
    tiny = found[0]
    assert tiny.bytes == sum(f.stat().st_size for f in tiny.path.rglob("*.safetensors")) > 0
    assert locate("tiny", [models]) == tiny
    assert locate(str(models / "tiny"), []) == tiny, "a path works as well as an id"


def test_the_first_folder_wins(models, shelf):
    folder, add = shelf
    add("tiny", like="twin")
    assert locate("tiny", [folder, models]).path == folder / "tiny"
    assert locate("tiny", [models, folder]).path == models / "tiny"
    assert find([folder / "nowhere"]) == []


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt", ".pth", ".pkl", ".CKPT", ".Bin", ".PT"])
def test_pickles_are_refused_by_name(models, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04.")
    message = refused(path, models)
    assert "is a pickle checkpoint" in message and "convert it to safetensors" in message
    assert "is a pickle checkpoint" in refused(f"absent{suffix}", models)


def test_a_folder_with_only_pickles(shelf):
    folder, add = shelf
    weights = add("bad") / UNET
    weights.rename(weights.with_suffix(".bin"))
    message = refused("bad", folder)
    assert "only as pickles (diffusion_pytorch_model.bin)" in message
    assert "convert" in message
    assert listed(folder, "bad") == message


def cut_data(path):
    path.write_bytes(path.read_bytes()[:-1])


def extra_data(path):
    path.write_bytes(path.read_bytes() + b"\0")


def cut_header(path):
    path.write_bytes(path.read_bytes()[:100])


def empty(path):
    path.write_bytes(b"")


def pickle(path):
    path.write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os." + b"x" * 200)


def raw_header(header: bytes):
    return lambda path: path.write_bytes(struct.pack("<Q", len(header)) + header)


DAMAGES = {
    "cut data": (cut_data, "is damaged: it has"),
    "extra data": (extra_data, "is damaged: it has"),
    "cut header": (cut_header, "is not a safetensors file, or it is cut short (100 bytes)"),
    "empty": (empty, "is not a safetensors file, or it is cut short (0 bytes)"),
    "renamed pickle": (pickle, "is not a safetensors file"),
    "text": (lambda path: path.write_text("hello, world, this is text"), "not a safetensors"),
    "header no json": (raw_header(b"{nonsense"), "bad header"),
    "header a list": (raw_header(b"[1, 2]"), "bad header"),
    "rows no objects": (raw_header(b'{"a": 5}'), "bad header"),
    "no offsets": (raw_header(b'{"a": {"shape": [1]}}'), "bad header"),
    "offsets no numbers": (
        raw_header(b'{"a": {"shape": [], "data_offsets": ["x", "y"]}}'),
        "bad header",
    ),
    "no shape": (raw_header(b'{"a": {"data_offsets": [0, 0]}}'), "bad header"),
    "deep": (raw_header(b"[" * 100_000), "bad header"),
    "not unicode": (raw_header(b"\xff\xfe\xfd"), "bad header"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_weights(shelf, name):
    damage, words = DAMAGES[name]
    folder, add = shelf
    model = add("bad")
    assert listed(folder, "bad") is None
    damage(model / UNET)
    message = refused("bad", folder)
    assert words in message and UNET in message
    assert listed(folder, "bad") == message, "the listing shows the problem instead of failing"
    assert words in refused(model, folder), "as a path, too"


def test_damage_that_keeps_the_size_is_seen(shelf):
    folder, add = shelf
    weights = add("bad") / UNET
    assert locate("bad", [folder]).problem is None
    weights.write_bytes(b"\0" * weights.stat().st_size)
    os.utime(weights, ns=(1, 1))
    assert "not a safetensors file" in refused("bad", folder)


def test_a_repaired_file_is_read_again(shelf, models):
    folder, add = shelf
    model = add("bad")
    cut_data(model / UNET)
    refused("bad", folder)
    shutil.copy(models / "tiny" / UNET, model / UNET)
    assert locate("bad", [folder]).problem is None


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["my_module", "X"],
        ["torch", "load"],
        ["diffusers", "a.b"],
        ["diffusers", 5],
        ["diffusers", None],
        [["diffusers"], "UNet2DConditionModel"],
        ["subprocess"],
    ],
    ids=str,
)
def test_classes_of_other_libraries(shelf, entry):
    folder, add = shelf
    write_index(add("bad"), unet=entry)
    message = refused("bad", folder)
    assert "'unet'" in message
    assert "only classes of diffusers and transformers are allowed" in message
    assert listed(folder, "bad") == message


def test_other_pipelines(shelf):
    folder, add = shelf
    write_index(add("bad"), _class_name="MyPipeline")
    message = refused("bad", folder)
    assert "'MyPipeline'" in message and "supported: StableDiffusionPipeline" in message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_missing_component_folder(shelf, part):
    folder, add = shelf
    shutil.rmtree(add("bad") / part)
    message = refused("bad", folder)
    assert f"{folder / 'bad' / part} is missing; the model folder is not complete" == message
    assert listed(folder, "bad") == message


def test_optional_components_may_be_absent(shelf):
    folder, add = shelf
    write_index(
        add("good"), safety_checker=["transformers", "X"], feature_extractor=["transformers", "Y"]
    )
    assert locate("good", [folder]).problem is None


def test_config_without_weights(shelf):
    folder, add = shelf
    (add("bad") / UNET).unlink()
    assert "has a config but no safetensors weights" in refused("bad", folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\0"], ids=lambda t: t[:3])
def test_unreadable_index(shelf, text):
    folder, add = shelf
    (add("bad") / "model_index.json").write_text(text)
    assert "model_index.json" in refused("bad", folder)
    assert "model_index.json" in listed(folder, "bad")


def test_a_bad_model_hides_no_good_one(shelf):
    folder, add = shelf
    add("good")
    cut_data(add("bad") / UNET)
    assert [(info.id, info.problem is None) for info in find([folder])] == [
        ("bad", False),
        ("good", True),
    ]
    assert locate("good", [folder]).id == "good"


def test_unknown_models_come_with_a_suggestion(models):
    message = refused("tinny", models, UnknownName)
    assert message.startswith("unknown model 'tinny'; did you mean 'tiny'? ")
    assert "python app.py models" in message
    assert "unknown model" in refused("x" * 5000, models, UnknownName), "no file has such a name"
    assert "unknown model" in refused("../nowhere/x", models, UnknownName)


def test_single_files_that_cannot_be_used_are_refused(models, tmp_path):
    single = tmp_path / "single.safetensors"
    shutil.copy(models / "tiny" / UNET, single)
    assert "has not the sizes of a published SD 1.x model" in refused(single, tmp_path)
    cut_data(single)
    assert "is damaged" in refused(single, models)
    assert "is damaged" in listed(tmp_path, single.name)


def test_headers_and_variants(models, shelf):
    _, add = shelf
    table = read_header(models / "tiny" / UNET)
    assert table.rows["conv_in.weight"].shape == (8, 4, 3, 3)
    plain = add("both") / UNET
    half = plain.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(plain, half)
    assert (variant_of(plain), variant_of(half)) == (None, "fp16")
    assert weight_files(plain.parent.parent, "unet") == [plain]
    plain.unlink()
    assert weight_files(half.parent.parent, "unet") == [half]
    assert (
        sizes(tensor_files.shapes_of([half]), "float16")[0] * 2
        == sizes(tensor_files.shapes_of([half]), "float32")[0]
    )
