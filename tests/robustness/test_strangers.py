"""Models from strangers: nothing runs, nothing outside the folder is read, the rest is listed.

A diffusers folder is made hostile in every way that came to mind. The folder is listed with its
reason, and neither the listing nor a run touches what it points to.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipelines import ContactSheetError, Request, Studio
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd

Hostile = Callable[[Path, Path], object]
"""Makes a model's folder hostile; the second path is a folder outside, with a file `secret`."""


class Bomb:
    """A pickle that leaves a mark where it was opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def edited(file: str, **changed: Any) -> Hostile:
    """Changes a config of the folder."""

    def make(model: Path, outside: Path) -> None:
        path = model / file
        data = json.loads(path.read_text()) if path.exists() else {}
        text = json.dumps({**data, **changed}).replace("OUTSIDE", str(outside))
        path.write_text(text)

    return make


def linked(file: str, to: str) -> Hostile:
    def make(model: Path, outside: Path) -> None:
        path = model / file
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(to.replace("OUTSIDE", str(outside)))

    return make


def placed(file: str, make: Callable[[Path], object]) -> Hostile:
    def place(model: Path, outside: Path) -> None:
        (model / file).unlink(missing_ok=True)
        make(model / file)

    return place


def sharded(value: Any) -> Hostile:
    def make(model: Path, outside: Path) -> None:
        weights = model / "unet" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_name("diffusion_pytorch_model-00001-of-00001.safetensors"))
        said = json.loads(json.dumps(value).replace("OUTSIDE", str(outside)))
        index = {"metadata": {}, "weight_map": said}
        weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))

    return make


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "OUTSIDE", "r": 4}
REFUSED: dict[str, Hostile] = {
    "adapter config": edited("text_encoder/adapter_config.json", **ADAPTER),
    "adapter config in unet": edited("unet/adapter_config.json", **ADAPTER),
    "adapter config no JSON": placed("text_encoder/adapter_config.json",
                                     lambda path: path.write_text("{")),
    "index leads out": sharded({"conv_in.weight": "../../outside/secret.safetensors"}),
    "index leads to root": sharded({"conv_in.weight": "OUTSIDE/secret.safetensors"}),
    "index names a pickle": sharded({"conv_in.weight": "x.bin"}),
    "index of numbers": sharded({"conv_in.weight": 5}),
    "index a list": sharded(["conv_in.weight"]),
    "index names what is not there": sharded({"conv_in.weight": "y.safetensors"}),
    "vocabulary outside": edited("tokenizer/tokenizer_config.json", vocab_file="OUTSIDE/secret"),
    "merges outside": edited("tokenizer/tokenizer_config.json", merges_file="../../secret"),
    "tokenizer outside": edited("tokenizer/tokenizer_config.json", tokenizer_file="OUTSIDE/secret"),
    "weights linked out": linked("unet/diffusion_pytorch_model.safetensors",
                                 "OUTSIDE/secret.safetensors"),
    "config linked out": linked("unet/config.json", "OUTSIDE/secret.json"),
    "index linked out": linked("model_index.json", "OUTSIDE/secret.json"),
    "scheduler linked out": linked("scheduler/scheduler_config.json", "OUTSIDE/secret.json"),
    "part linked out": linked("vae", "OUTSIDE"),
    "tokenizer file linked out": linked("tokenizer/tokenizer.json", "OUTSIDE/secret.json"),
    "pipe among the tokenizer's": placed("tokenizer/merges.txt", os.mkfifo),
    "pipe as weights": placed("vae/more.safetensors", os.mkfifo),
    "device as vocabulary": linked("tokenizer/vocab.json", "/dev/zero"),
    "socket": placed("tokenizer/merges.txt", unix_socket),
    "dangling": linked("tokenizer/extra.json", "nowhere"),
    "loop": linked("tokenizer/extra.json", "extra.json"),
    "a tokenizer of 100 MB": placed("tokenizer/tokenizer.json",
                                    lambda path: path.write_bytes(b"[" * 10**8)),
    "custom class": edited("model_index.json", unet=["evil", "Model"]),
    "custom module": edited("model_index.json", unet=["diffusers.evil", "Model"]),
    "custom pipeline": edited("model_index.json", _class_name=["evil", "Pipe"]),
    "a list that is long": edited("unet/config.json", block_out_channels=[8] * 10**5),
}  # fmt: skip
HARMLESS: dict[str, Hostile] = {
    "auto_map": edited("unet/config.json", auto_map={"AutoModel": "evil.Model"}),
    "auto_map of text": edited("text_encoder/config.json", auto_map={"AutoModel": "evil.Model"},
                               trust_remote_code=True),
    "tokenizer class": edited("tokenizer/tokenizer_config.json", tokenizer_class="evil.Tokenizer",
                              auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}),
    "special tokens' file": edited("tokenizer/tokenizer_config.json",
                                   special_tokens_map_file="./special_tokens_map.json"),
    "chat template": placed("tokenizer/chat_template.jinja",
                            lambda path: path.write_text("{{ ''.__class__.__mro__ }}")),
    "custom pipeline": edited("model_index.json", custom_pipeline="evil", _module="evil"),
    "code beside": placed("unet/evil.py", lambda path: path.write_text("raise SystemExit(9)")),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    sd().save_pretrained(folder / "good")
    save_lora(sd(), folder / "good-lora")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("TOP SECRET")
    (folder / "secret.json").write_text('{"_class_name": "TOP SECRET"}')
    save_file({"TOP SECRET": torch.zeros(1)}, folder / "secret.safetensors")
    return folder


@pytest.fixture
def models(good: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("good", "good-lora"):
        (folder / name).symlink_to(good / name)
    return folder


def hostile_copy(good: Path, models: Path, outside: Path, make: Hostile) -> Path:
    bad = models / "bad"
    shutil.copytree(good / "good", bad)
    for part in ("unet", "text_encoder", "vae"):
        for name in ("diffusion_pytorch_model.bin", "pytorch_model.bin", "adapter_model.bin"):
            (bad / part / name).write_bytes(pickle.dumps(Bomb(outside / "ran")))
    make(bad, outside)
    return bad


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(good: Path, models: Path, outside: Path, kind: str) -> None:
    hostile_copy(good, models, outside, REFUSED[kind])
    studio = Studio(models, device="cpu")
    problems = {info.id: info.problem for info in studio.models()}
    assert problems["good"] is None and problems["bad"]
    assert "TOP SECRET" not in str(problems["bad"]) and len(str(problems["bad"])) < 1000
    assert [info.id for info in studio.loras("good")] == ["good-lora"]
    with pytest.raises(ContactSheetError):
        studio.image(Request(model="bad", prompt="a", steps=1, width=32, height=32))
    studio.close()
    assert not (outside / "ran").exists()


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_ignored(good: Path, models: Path, outside: Path, kind: str) -> None:
    """None of it is ever asked for: the pictures are the good model's."""
    hostile_copy(good, models, outside, HARMLESS[kind])
    studio = Studio(models, device="cpu")
    request = Request(model="bad", prompt="a", steps=2, sampler="ddim", width=32, height=32)
    pictures = [studio.image(request.replace(model=one)).tobytes() for one in ("bad", "good")]
    assert studio.tokens("bad", "a cat").count == studio.tokens("good", "a cat").count
    studio.close()
    assert pictures[0] == pictures[1]
    assert not (outside / "ran").exists()


def test_a_snapshot_of_the_hub_may_link_to_its_blobs(good: Path, tmp_path: Path) -> None:
    """As huggingface_hub's cache has it, named by a link in the models folder."""
    cache = tmp_path / "models--x--y"
    snapshot = cache / "snapshots" / "abc"
    for number, file in enumerate(sorted((good / "good").rglob("*"))):
        if file.is_file():
            place = snapshot / file.relative_to(good / "good")
            place.parent.mkdir(parents=True, exist_ok=True)
            blob = cache / "blobs" / str(number)
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            place.symlink_to(os.path.relpath(blob, place.parent))
    models = tmp_path / "models"
    models.mkdir()
    (models / "hub").symlink_to(snapshot)
    studio = Studio(models, device="cpu")
    assert [info.problem for info in studio.models()] == [None]
    studio.image(Request(model="hub", prompt="a", steps=1, sampler="ddim", width=32, height=32))
    studio.close()


def test_files_that_lead_out_are_named(models: Path, outside: Path) -> None:
    (models / "away.safetensors").symlink_to(outside / "secret.safetensors")
    (models / "embeddings").mkdir()
    (models / "embeddings" / "word.safetensors").symlink_to(outside / "secret.safetensors")
    lora = next((models / "good-lora").iterdir())
    shutil.copy(lora, outside / "lora.safetensors")
    (models / "far.safetensors").symlink_to(outside / "lora.safetensors")
    studio = Studio(models, device="cpu")
    infos = [*studio.models(), *studio.loras(), *studio.embeddings()]
    problems = {(info.kind, info.id): info.problem for info in infos}
    studio.close()
    for one in (("model", "away.safetensors"), ("model", "far.safetensors"), ("embedding", "word")):
        assert "a link to" in str(problems[one])
    assert problems["model", "good"] is None and problems["lora", "good-lora"] is None


def test_a_file_that_vanishes_between_listing_and_reading(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone.safetensors", "gone.gguf"):
        (models / name).write_bytes(b"")
    (models / "embeddings").mkdir()
    (models / "embeddings" / "gone.safetensors").write_bytes(b"")
    real = Path.stat

    def vanished(path: Path, **named: Any) -> os.stat_result:
        if path.name.startswith("gone."):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, **named)

    monkeypatch.setattr(Path, "stat", vanished)
    studio = Studio(models, device="cpu")
    infos = [*studio.models(), *studio.loras(), *studio.embeddings()]
    studio.close()
    problems = {info.id: info.problem for info in infos}
    assert problems["good"] is None and problems["good-lora"] is None
    assert problems["gone.safetensors"] and problems["gone.gguf"] and problems["gone"]


def test_folders_that_lead_into_themselves(good: Path, tmp_path: Path) -> None:
    for name in ("good", "good-lora"):
        (tmp_path / name).symlink_to(good / name)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "embeddings").symlink_to(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "deeper").symlink_to("../deep")
    studio = Studio(tmp_path, device="cpu")
    problems = {info.id: info.problem for info in studio.models()}
    assert problems["good"] is None and [one.id for one in studio.loras()] == ["good-lora"]
    assert all(info.problem for info in studio.embeddings())
    studio.close()
