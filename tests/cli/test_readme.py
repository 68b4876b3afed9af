"""The README's examples run as written, and what it points to is there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import app
from pipelines.request.axis_grammar import parse_axis, parse_values

ROOT = Path(app.__file__).parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in TEXT.splitlines() if line.startswith("    python app.py ")]


def test_there_is_an_example_of_every_command() -> None:
    said = {shlex.split(command)[2] for command in COMMANDS}
    names = {command.name or command.callback.__name__ for command in app.app.registered_commands}
    assert said == names - {"serve"}


def test_the_commands_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        result = CliRunner().invoke(app.app, shlex.split(command)[2:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert json.loads(result.stdout)["prompt"] == "a red apple", "the last one prints settings"
    with Image.open("apple.png") as apple, Image.open("apples/sheet.png") as sheet:
        assert apple.size == (128, 128)
        assert sheet.width > 2 * 128 and sheet.height > 4 * 128
    assert len(list(Path("colours/cells").glob("*.png"))) == 12


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    exec(compile(code, "README.md", "exec"), {})
    with Image.open("apple-3.png") as picture:
        assert picture.size == (128, 128)


def test_the_axis_table_says_what_the_grammar_does() -> None:
    rows = re.findall(r"^\| (`.*`) \| ", TEXT, re.M)
    values = [entry for row in rows for entry in re.findall(r"`([^`]+)`", row)]
    assert len(values) >= 6
    for value in values:
        if "=" in value:
            assert parse_axis(value).zipped
        else:
            assert parse_values("prompt" if '"' in value else "guidance_scale", value)


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    local = [target for target in targets if "://" not in target]
    assert len(local) >= 4
    for target in local:
        assert (ROOT / target).is_file(), target
