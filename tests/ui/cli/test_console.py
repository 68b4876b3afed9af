"""What the command line prints, and how it ends when it is asked for the impossible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from pipelines import Axis, InvalidRequest, Request, Sheet
from pipelines.runs.events import CellDone, CellFailed, CellProgress, RunFinished, RunStarted, Stats
from pipelines.runs.run import Run
from ui.cli.console import Group, bad_input_ends_here, check_writable, follow, shape_line, show

SHEET = Sheet(
    base=Request(prompt="an apple"),
    axes=(Axis(field="prompt", values=("a", "b", "c")), Axis(field="seed", values=(1, 2))),
)


def ended_run() -> Run:
    """Three cells, of which the last ends first and the middle one fails."""
    sheet = Sheet(base=Request(), axes=(Axis(field="seed", values=(1, 2, 3)),))
    run = Run(sheet, sheet.expand(), "abc")
    picture = Image.new("RGB", (8, 8))
    run.publish(RunStarted("abc", run.requests))
    run.publish(CellProgress("abc", 0, 1, 20))
    run.publish(CellDone("abc", 2, run.requests[2], picture, None, 1.0, cached=False))
    run.publish(CellFailed("abc", 1, run.requests[1], "too large"))
    run.publish(CellDone("abc", 0, run.requests[0], picture, None, 1.0, cached=False))
    run.publish(RunFinished("abc", "done", Stats()))
    return run


def test_a_run_is_followed_to_its_end() -> None:
    seen: list[int] = []
    ended = follow(ended_run(), lambda event: seen.append(event.cell))
    assert seen == [2, 1, 0], "as they ended"
    assert [event.cell for event in ended] == [0, 1, 2], "as they stand in the sheet"
    assert [event.error for event in ended] == [None, "too large", None]


def test_a_run_that_nobody_takes_is_stopped() -> None:
    sheet = Sheet(base=Request(), axes=(Axis(field="seed", values=(1, 2)),))
    run = Run(sheet, sheet.expand(), "abc")
    run.publish(RunStarted("abc", run.requests))
    run.publish(
        CellDone("abc", 0, run.requests[0], Image.new("RGB", (8, 8)), None, 1.0, cached=False)
    )

    def full(event: CellDone | CellFailed) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        follow(run, full)
    assert run.stop_asked


def test_a_sheet_s_shape_in_words() -> None:
    assert shape_line(SHEET) == "6 cells: 3 × prompt, 2 × seed"


def test_a_file_that_can_be_written(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.PNG")
    check_writable(tmp_path / "not" / "yet" / "there.png")
    (tmp_path / "old.png").touch()
    check_writable(tmp_path / "old.png")
    assert [file.name for file in tmp_path.iterdir()] == ["old.png"], "nothing is made by asking"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("new.jpg", r"new\.jpg does not end in \.png"),
        ("folder.png", r"folder\.png is a folder; name a file in it"),
        ("old.txt/new.png", "cannot be written; choose another place"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.txt").touch()
    with pytest.raises(InvalidRequest, match=why):
        check_writable(tmp_path / name)


def test_bad_input_is_one_line_and_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, bad_input_ends_here():
        raise InvalidRequest("steps is 0")
    assert end.value.exit_code == 2
    assert capsys.readouterr() == ("", "error: steps is 0\n")
    with pytest.raises(ZeroDivisionError), bad_input_ends_here():
        raise ZeroDivisionError  # a bug stays one


def test_a_wrong_command_line_is_one_line_and_status_two() -> None:
    app = typer.Typer(cls=Group, rich_markup_mode=None)

    @app.command()
    def one(number: int = 1) -> None:
        typer.echo(number)

    @app.command()
    def two() -> None:
        """Another, so that commands have names."""

    run = CliRunner()
    assert run.invoke(app, ["one", "--number", "7"]).output == "7\n"
    for wrong in (["one", "--number", "x"], ["one", "--nothing"], ["three"]):
        result = run.invoke(app, wrong)
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        assert line.startswith("error: ") and line.endswith("(--help shows what there is)")


ROWS: list[dict[str, Any]] = [
    {"id": "one", "steps": 5, "made_before": True, "of": ["a", "b"], "file": None, "why": None},
    {"id": "two", "steps": 20, "made_before": False, "of": [], "file": "f.png", "why": None},
]


def test_rows_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_rows_for_people(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    show([ROWS[0] | {"file": str(tmp_path / "here.png")}, ROWS[1]], as_json=False)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "steps", "made", "before", "of", "file"], "what is empty is out"
    assert first.split() == ["one", "5", "yes", "a,", "b", "here.png"]
    assert second.split() == ["two", "20", "no", "f.png"]
    assert first.index("5") == second.index("20") + 1, "numbers stand on the right"


def test_no_rows_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    show([], as_json=False)
    assert capsys.readouterr() == ("", "none found\n")
    show([], as_json=True)
    assert capsys.readouterr().out == "[]\n"
