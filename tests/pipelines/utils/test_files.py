"""Atomic file writes: whole or not there, whoever else writes the same file."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import InvalidRequest
from pipelines.utils.files import drafts, save_png, save_text

WRITER = """
import sys
from pathlib import Path
from typing import Any
from pipelines.utils.files import drafts

path, letter = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(300):
    with drafts(path) as (draft,):
        draft.write_text(letter * 50_000)
"""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_two_processes_may_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a" * 50_000, "b" * 50_000}, "a reader never sees half a file"
    assert list(contents(tmp_path)) == ["file.txt"], "no draft is left"


def test_two_threads_may_write_one_file_at_once(tmp_path: Path) -> None:
    path, failed, start = tmp_path / "file.txt", [], threading.Barrier(2)

    def write(letter: str) -> None:
        start.wait()
        try:
            for _ in range(100):
                save_text(path, letter * 1000)
        except InvalidRequest as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert contents(tmp_path) in ({"file.txt": "a" * 1000}, {"file.txt": "b" * 1000})


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    old, new = save_text(tmp_path / "old.txt", "old"), tmp_path / "new.txt"
    with pytest.raises(KeyError), drafts(old, new) as (first, second):
        first.write_text("other")
        second.write_text("other")
        raise KeyError("while writing")
    assert contents(tmp_path) == {"old.txt": "old"}


def test_a_draft_that_was_never_written_changes_nothing(tmp_path: Path) -> None:
    old, new = save_text(tmp_path / "old.txt", "old"), tmp_path / "new.txt"
    with pytest.raises(FileNotFoundError), drafts(old, new) as (first, _):
        first.write_text("other")
    assert contents(tmp_path) == {"old.txt": "old"}


def test_files_of_one_stem_have_drafts_of_one_stem(tmp_path: Path) -> None:
    paths = (tmp_path / "deep" / "net.bin", tmp_path / "deep" / "net.xml")
    with drafts(*paths, keep_suffix=True) as (weights, model):
        assert (weights.suffix, model.with_suffix(".bin")) == (".bin", weights)
        weights.write_text("w")
        model.write_text("m")
    assert contents(tmp_path / "deep") == {"net.bin": "w", "net.xml": "m"}
    with drafts(tmp_path / "a.png") as (draft,):
        assert draft.suffix == ".part", "a draft left behind is not taken for a picture"
        draft.touch()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = save_text(tmp_path / "file", "text")
    with pytest.raises(InvalidRequest, match=f"{file}/below cannot be written: "):
        save_text(file / "below", "text")


def test_a_folder_that_goes_while_a_file_is_written_is_made_again(tmp_path: Path) -> None:
    """As when somebody deletes the outputs folder in the middle of a run."""
    place = tmp_path / "outputs" / "ab" / "one.png"
    shown: list[Path] = []

    class Picture:
        def save(self, file: Any, kind: str, pnginfo: object) -> None:
            if not shown:
                (tmp_path / "outputs").rename(tmp_path / "gone")
            shown.append(place)
            file.write(b"pixels")

    assert save_png(place, Picture()) == place  # type: ignore[arg-type]
    assert place.read_bytes() == b"pixels" and len(shown) == 2
    assert not list(tmp_path.glob("outputs/**/*.part"))
