"""A model is opened as an object: what it is, what fits it, and each of its files read once."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipelines import Request, Studio
from pipelines.checkpoints import catalog
from pipelines.model_manager.model_library import ModelLibrary

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(model="tiny", prompt="an apple", steps=2, width=32, height=32)


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A models folder whose files nothing has read yet."""
    shutil.copytree(models / "tiny", tmp_path / "tiny")
    return tmp_path


def test_a_picture_reads_each_json_file_of_its_model_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    located: list[str] = []
    read_text, locate = Path.read_text, catalog.locate

    def counted(path: Path, *args: str, **options: str) -> str:
        if path.is_relative_to(folder):
            reads[str(path.relative_to(folder))] += 1
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    monkeypatch.setattr(catalog, "locate", lambda *args: located.append(args[0]) or locate(*args))
    studio = Studio(folder, folder / "outputs", device="cpu")
    assert studio.image(BASE).size == (32, 32)
    studio.close()
    configs = ["model_index.json", "scheduler/scheduler_config.json"]
    configs += [f"{part}/config.json" for part in ("text_encoder", "unet", "vae")]
    configs.append("tokenizer/tokenizer_config.json")  # that it names no files elsewhere
    assert reads == Counter(f"tiny/{one}" for one in configs)
    assert located == ["tiny", "tiny"], "to check the Request, and when its turn has come"


def test_the_next_run_sees_what_changed_on_disk(folder: Path) -> None:
    studio = Studio(folder, folder / "outputs", device="cpu")
    before = studio.image(BASE).tobytes()
    config = folder / "tiny" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.024"))
    assert studio.image(BASE).tobytes() != before
    studio.close()


def test_an_entry_says_what_a_model_is_without_loading_it(folder: Path) -> None:
    entry = ModelLibrary([folder]).open("tiny")
    assert (entry.name, entry.info.id, entry.spec.id) == ("tiny", "tiny", "sd")
    assert entry.configs["unet"]["_class_name"] == entry.index["unet"][1]
    assert entry.capabilities.sizes.native == (32, 32)
    by_path = ModelLibrary([]).open(str(folder / "tiny"))
    assert by_path.info == entry.info and by_path.configs == entry.configs
