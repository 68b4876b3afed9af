"""`--out` as people write it, and a second sheet into a folder that has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import app

QUICK = ["--model", "tiny", "--steps", "1", "--sampler", "ddim", "--device", "cpu"]


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app.app, [str(one) for one in arguments])


@pytest.fixture
def sheet(models: Path, tmp_path: Path) -> Any:
    """Makes a sheet of one axis in a folder of the test."""

    def make(axis: str, *more: object, prompt: str = "an apple") -> Any:
        return call(
            "sheet", prompt, *QUICK, "--models", models, "--axis", axis,
            "--out", tmp_path / "sheet", "--outputs", tmp_path / "outputs", *more,
        )  # fmt: skip

    return make


def cells(folder: Path) -> set[str]:
    return {file.name for file in (folder / "sheet" / "cells").iterdir()}


def listed(folder: Path) -> set[str]:
    contents = json.loads((folder / "sheet" / "sheet.json").read_text())
    return {Path(cell["file"]).name for cell in contents["cells"]}


def test_a_second_sheet_never_mixes_with_the_first(sheet: Any, tmp_path: Path) -> None:
    assert sheet("seed=1-3").exit_code == 0
    first = {file: file.read_bytes() for file in sorted((tmp_path / "sheet").rglob("*.*"))}
    for axis, prompt in (("seed=1,2", "an apple"), ("seed=1-3", "a pear"), ("steps=1,2", "x")):
        refused = sheet(axis, prompt=prompt)
        assert refused.exit_code == 2
        (line,) = refused.stderr.strip().splitlines()
        assert "holds another sheet" in line and "--force" in line
        assert {file: file.read_bytes() for file in first} == first, "nothing was written"
    # The same one is gone on with.
    assert sheet("seed=1-3").exit_code == 0

    (tmp_path / "sheet" / "cells" / "mine.png").write_bytes(b"mine")
    (tmp_path / "sheet" / "notes.txt").write_text("mine")
    assert sheet("steps=1,2", "--force").exit_code == 0
    assert cells(tmp_path) == {*listed(tmp_path), "mine.png"}, "the first one's are gone"
    assert len(listed(tmp_path)) == 2
    assert (tmp_path / "sheet" / "notes.txt").read_text() == "mine"


def test_bad_input_with_force_replaces_nothing(sheet: Any, tmp_path: Path) -> None:
    assert sheet("seed=1,2").exit_code == 0
    before = cells(tmp_path)
    assert sheet("steps=0,1", "--force").exit_code == 2
    assert cells(tmp_path) == before == listed(tmp_path)


def test_pictures_of_no_known_sheet_are_left_alone(sheet: Any, tmp_path: Path) -> None:
    place = tmp_path / "sheet" / "cells"
    place.mkdir(parents=True)
    (place / "holiday.png").write_bytes(b"x")
    for more in ((), ("--force",)):
        refused = sheet("seed=1,2", *more)
        assert refused.exit_code == 2 and "'holiday.png', which is no cell" in refused.stderr
    (tmp_path / "sheet" / "sheet.json").write_text('{"rows": []}')
    refused = sheet("seed=1,2", "--force")
    assert refused.exit_code == 2 and "is no sheet's" in refused.stderr
    assert cells(tmp_path) == {"holiday.png"}


NAMES = (
    "a \"q\" 'p' 50%.png",
    "苹果 🍎.PNG",
    "two\nlines.png",
    "a&b;c$d.png",
    "-dash.png",
    "a.b.png",
)


def test_names_with_any_sign_are_written(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        result = call("generate", "x", *QUICK, "--models", models, f"--out={name}")
        assert result.exit_code == 0, result.output
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 0
    result = call("generate", "x", *QUICK, "--models", models, "--out", "new/../up.png")
    assert result.exit_code == 0 and (tmp_path / "up.png").is_file()


def test_the_home_folder_is_meant_where_the_shell_left_its_sign(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert call("generate", "x", *QUICK, "--models", models, "--out=~/a.png").exit_code == 0
    assert (home / "a.png").is_file() and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "does not end in .png"), ("a", "does not end in .png"),
        (".png", "has no name before .png"), ("", "does not end in .png"),
        ("a.png ", "does not end in .png"), ("l" * 300 + ".png", "cannot be written"),
        ("folder.png", "is a folder"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_are_refused_before_any_work(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    result = call("generate", "x", *QUICK, "--models", models, "--out", name)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]
