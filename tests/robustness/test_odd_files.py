"""One odd file never breaks the listing: it is named with its reason, and everything else is there.

Each kind of thing that a models folder holds is made odd in every way that came to mind, and then
by chance.
"""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pipelines import ModelUnavailable, Studio
from pipelines.checkpoints.adapter_metadata import alpha_over_rank, read_settings
from pipelines.checkpoints.formats.header import Header
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.loras import WEIGHTS
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd

Odd = Callable[[Path], object]
ROW = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
LORA = "lora_unet_x.lora_down.weight"


def raw(header: str | bytes, data: int = 4) -> Odd:
    """Writes a safetensors file with this header."""
    text = header.encode() if isinstance(header, str) else header
    return lambda path: path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * data)


def with_metadata(text: str) -> Odd:
    return raw(f'{{"__metadata__":{text},"{LORA}":{json.dumps(ROW)}}}')


def with_row(**changed: str) -> Odd:
    row = {key: json.dumps(value) for key, value in ROW.items()} | changed
    inside = ",".join(f'"{key}":{value}' for key, value in row.items())
    return raw(f'{{"{LORA}":{{{inside}}}}}')


def with_settings(text: str) -> Odd:
    return with_metadata(json.dumps({"lora_adapter_metadata": text}))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def looping(path: Path) -> None:
    path.symlink_to(path)


FILES: dict[str, Odd] = {
    "metadata null": with_metadata("null"),
    "metadata a list": with_metadata("[]"),
    "metadata a text": with_metadata('"x"'),
    "metadata of numbers": with_metadata('{"a": 1}'),
    "settings no JSON": with_settings("{nonsense"),
    "settings a list": with_settings("[1]"),
    "settings a text": with_settings('"x"'),
    "settings deep": with_settings("[" * 100_000),
    "alpha a text": with_settings('{"unet.lora_alpha": "x"}'),
    "alpha infinite": with_settings('{"unet.lora_alpha": 1e400}'),
    "alpha nan": with_settings('{"unet.lora_alpha": NaN}'),
    "alpha huge": with_settings('{"unet.lora_alpha": 1' + "0" * 400 + "}"),
    "alpha true": with_settings('{"unet.lora_alpha": true}'),
    "pattern a list": with_settings('{"unet.alpha_pattern": [1]}'),
    "pattern no regex": with_settings('{"unet.alpha_pattern": {"(": 1}}'),
    "pattern that hangs": with_settings('{"unet.alpha_pattern": {"(a+)+x": 1}}'),
    "pattern that hangs too": with_settings('{"unet.alpha_pattern": {".*.*.*.*.*.*x": 1}}'),
    "pattern of texts": with_settings('{"unet.alpha_pattern": {"a": "b"}}'),
    "shape infinite": with_row(shape="[1e400]"),
    "shape of texts": with_row(shape='["1"]'),
    "shape of floats": with_row(shape="[1.0]"),
    "shape of truths": with_row(shape="[true]"),
    "shape negative": with_row(shape="[-1]"),
    "shape overflows": with_row(shape="[4294967295, 4294967295, 4294967295]"),
    "shape nested": with_row(shape="[[1]]"),
    "shape null": with_row(shape="null"),
    "shape long": with_row(shape=f"[{','.join('1' * 99)}]"),
    "shape of 5000 digits": with_row(shape=f"[{'9' * 5000}]"),
    "offsets turned": with_row(data_offsets="[4, 0]"),
    "offsets negative": with_row(data_offsets="[-4, 4]"),
    "offsets infinite": with_row(data_offsets="[0, 1e400]"),
    "dtype null": with_row(dtype="null"),
    "dtype long": with_row(dtype=f'"{"F" * 5000}"'),
    "row a list": raw('{"a":[]}'),
    "name of 5000 letters": raw(f'{{"{"x" * 5000}":{json.dumps(ROW)}}}'),
    "deep": raw("[" * 10**6),
    "deep in a row": raw('{"a":' * 10**5),
    "open quotes": raw('"' * 10**6),
    "empty": lambda path: path.write_bytes(b""),
    "length 2 to the 64": lambda path: path.write_bytes(b"\xff" * 100),
    "pipe": pipe,
    "dangling": dangling,
    "looping": looping,
    "device": lambda path: path.symlink_to("/dev/zero"),
}  # fmt: skip
CONFIGS: dict[str, Odd] = {
    "no JSON": lambda path: path.write_text("{nonsense"),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 10**6),
    "long": lambda path: path.write_text("[" + "[]," * 2 * 10**6 + "[]]"),
    "no unicode": lambda path: path.write_bytes(b"\xff\xfe"),
    "pipe": pipe,
    "dangling": dangling,
    "looping": looping,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    sd().save_pretrained(folder / "good")
    save_lora(sd(), folder / "good-lora")
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Iterator[Path]:
    """A models folder with a good model, a good LoRA, and room for odd things between them."""
    for name in ("good", "good-lora"):
        (tmp_path / name).symlink_to(good / name)
    yield tmp_path


def listing(folder: Path) -> dict[str, str | None]:
    """What `models` lists, and its problems; what can be used must say what it can do."""
    studio = Studio(folder, device="cpu")
    infos = [*studio.models(), *studio.controlnets(), *studio.loras()]
    for info in infos:
        json.dumps([info.id, str(info.path), info.problem]).encode()
        assert info.problem is None or len(info.problem) < 1000
        if info.problem is None and info.kind == "model":
            studio.supports(info.id)
    assert [info.id for info in studio.loras("good")] == ["good-lora"]
    problems = {info.id: info.problem for info in infos}
    studio.close()
    assert problems["good"] is None and problems["good-lora"] is None
    return problems


@pytest.mark.parametrize("kind", FILES)
def test_odd_single_files(folder: Path, kind: str) -> None:
    FILES[kind](folder / "bad.safetensors")
    started = time.monotonic()
    problems = listing(folder)
    assert time.monotonic() - started < 5
    assert problems.get("bad.safetensors") or problems.get("bad")


@pytest.mark.parametrize("kind", FILES)
def test_odd_loras_in_folders(folder: Path, kind: str) -> None:
    (folder / "bad").mkdir()
    FILES[kind](folder / "bad" / WEIGHTS)
    assert listing(folder)["bad"]


@pytest.mark.parametrize("kind", FILES)
def test_odd_weights_of_a_model(folder: Path, good: Path, kind: str) -> None:
    _copy_of_good(good, folder / "bad")
    weights = folder / "bad" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    FILES[kind](weights)
    problems = listing(folder)
    if kind.startswith(("alpha", "pattern", "settings")):
        return  # nobody reads a LoRA's settings there
    assert problems["bad"]


@pytest.mark.parametrize("config", ["model_index.json", "unet/config.json",
                                    "scheduler/scheduler_config.json"])  # fmt: skip
@pytest.mark.parametrize("kind", CONFIGS)
def test_odd_configs(folder: Path, good: Path, kind: str, config: str) -> None:
    _copy_of_good(good, folder / "bad")
    (folder / "bad" / config).unlink()
    CONFIGS[kind](folder / "bad" / config)
    # A file looks for a giver among all folders.
    save_file({"model.diffusion_model.x": torch.zeros(1)}, folder / "one.safetensors")
    assert listing(folder)["bad"]


@pytest.mark.parametrize("kind", CONFIGS)
def test_odd_controlnets_hide_nothing(folder: Path, kind: str) -> None:
    (folder / "bad").mkdir()
    CONFIGS[kind](folder / "bad" / "config.json")
    listing(folder)


NUMBERS = ["1e400", "-1", '"4"', "null", "[]", "[[]]", "{}", "true", "9" * 5000, "NaN", "0"]


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize(
    ("config", "key"),
    [("unet/config.json", "block_out_channels"), ("unet/config.json", "sample_size"),
     ("unet/config.json", "cross_attention_dim"), ("vae/config.json", "block_out_channels"),
     ("unet/config.json", "time_cond_proj_dim"), ("model_index.json", "unet"),
     ("scheduler/scheduler_config.json", "prediction_type")],
)  # fmt: skip
def test_odd_values_in_configs(folder: Path, good: Path, config: str, key: str, value: str) -> None:
    _copy_of_good(good, folder / "bad")
    path = folder / "bad" / config
    table = {k: json.dumps(v) for k, v in json.loads(path.read_text()).items()} | {key: value}
    text = "{" + ",".join(f'"{k}":{v}' for k, v in table.items()) + "}"
    path.unlink()
    path.write_text(text)
    listing(folder)


def test_a_folder_that_may_not_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "aaa").mkdir()
    (folder / "aaa" / "model_index.json").write_text("{}")
    real = os.lstat, os.stat, open

    def refused(call: Any) -> Any:
        def guarded(path: Any, *rest: Any, **named: Any) -> Any:
            if "/aaa/" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *rest, **named)

        return guarded

    monkeypatch.setattr(os, "lstat", refused(real[0]))
    monkeypatch.setattr(os, "stat", refused(real[1]))
    problem = listing(folder)["aaa"]
    assert problem and "Permission denied" in problem


def test_names_that_are_no_unicode(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.safetensors")).write_bytes(b"")
    inside = folder / os.fsdecode(b"\xfe")
    inside.mkdir()
    (inside / "model_index.json").write_bytes(b"")
    problems = listing(folder)
    assert sum("rename it" in (why or "") for why in problems.values()) == 2


def test_the_longest_names(folder: Path) -> None:
    (folder / ("x" * 243 + ".safetensors")).write_bytes(b"")
    (folder / ("y" * 255)).mkdir()
    (folder / ("y" * 255) / "model_index.json").write_text("{}")
    problems = listing(folder)
    assert problems["x" * 243 + ".safetensors"] and problems["y" * 255]
    with pytest.raises(Exception, match="unknown model"):
        Studio(folder, device="cpu").supports("z" * 300)


@pytest.mark.parametrize(
    "text", [b"[" + b"[]," * 5_000_000 + b"[]]", b'["' + b'","' * 4_000_000 + b'"]',
             b"[" + b"1," * 7_000_000 + b"1]", b'{"a":"' + b"x" * 99_000_000 + b'"}']
)  # fmt: skip
def test_no_header_takes_long_or_much_memory(tmp_path: Path, text: bytes) -> None:
    raw(text)(tmp_path / "x.safetensors")
    del text
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(ModelUnavailable, match="bad header"):
        read_header(tmp_path / "x.safetensors")
    taken, most = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 1 and most < 200e6


def test_a_trainers_long_list_of_tags_is_read(tmp_path: Path) -> None:
    tags = json.dumps({f"tag {number}": number for number in range(50_000)})
    save_file({LORA: torch.zeros(1)}, tmp_path / "x.safetensors", {"ss_tag_frequency": tags})
    assert read_header(tmp_path / "x.safetensors").metadata["ss_tag_frequency"] == tags


def test_settings_mean_what_peft_means() -> None:
    def settings_of(**said: Any) -> Any:
        text = json.dumps({f"unet.{key}": value for key, value in said.items()})
        return read_settings(Path("x"), Header({}, {"lora_adapter_metadata": text}))

    plain = settings_of(lora_alpha=8, alpha_pattern={"attn2.to_q": 2, r".*\.ff\.net": 16})
    for module, alpha in (("a.attn2.to_q", 2), ("attn2.to_q", 2), ("a.b.ff.net", 16), ("x", 8)):
        assert alpha_over_rank(plain, "unet", module, 4) == alpha / 4
    assert alpha_over_rank(settings_of(lora_alpha=8, use_rslora=True), "unet", "x", 4) == 4
    assert alpha_over_rank(settings_of(r=4), "unet", "x", 4) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
ROWS = st.fixed_dictionaries({}, optional={"dtype": JSON, "shape": JSON, "data_offsets": JSON})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.dictionaries(st.sampled_from(["__metadata__", LORA, "conv_in.weight", "a"]),
                          ROWS | JSON, max_size=3),
    config=JSON | st.dictionaries(st.sampled_from(["_class_name", "unet", "vae"]), JSON),
    noise=st.binary(max_size=64),
)  # fmt: skip
def test_whatever_lies_there(folder: Path, table: Any, config: Any, noise: bytes) -> None:
    raw(json.dumps(table))(folder / "bad.safetensors")
    (folder / "noise.gguf").write_bytes(b"GGUF" + noise)
    (folder / "noise.safetensors").write_bytes(noise)
    for name in ("model", "net"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "model" / "model_index.json").write_text(json.dumps(config))
    (folder / "net" / "config.json").write_text(json.dumps(config))
    studio = Studio(folder, device="cpu")
    infos = {i.id: i for i in [*studio.controlnets(), *studio.loras(), *studio.models()]}
    studio.close()
    assert infos["good"].problem is None and infos["good-lora"].problem is None
    assert infos["noise.gguf"].problem and infos["bad.safetensors"].problem


def _copy_of_good(good: Path, to: Path) -> None:
    """A copy whose large files are links."""
    for file in (good / "good").rglob("*"):
        if file.is_file():
            place = to / file.relative_to(good / "good")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
