"""What was read from a file is kept until the file, or a file in the folder, is another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.utils.file_cache import cached_by_file, stamp


def test_a_file_is_read_again_when_its_size_or_time_is_another(tmp_path: Path) -> None:
    reads: list[str] = []

    @cached_by_file(most=8)
    def words(path: Path, upper: bool) -> str:
        reads.append(path.name)
        text = path.read_text()
        return text.upper() if upper else text

    file = tmp_path / "a.txt"
    file.write_text("one")
    assert [words(file, False), words(file, False), words(file, True)] == ["one", "one", "ONE"]
    assert len(reads) == 2, "once for each set of options"
    file.write_text("three")
    assert words(file, False) == "three"
    file.write_text("seven")
    os.utime(file, ns=(1, 1))
    assert words(file, False) == "seven", "of the same size"


def test_errors_are_not_kept(tmp_path: Path) -> None:
    @cached_by_file(most=8)
    def number(path: Path) -> int:
        return int(path.read_text())

    file = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError):
        number(file)
    file.write_text("x")
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            number(file)
    file.write_text("12")
    assert number(file) == 12


def test_a_folder_is_another_when_one_of_its_files_is(tmp_path: Path) -> None:
    first = stamp(tmp_path)
    (tmp_path / "a").write_text("1")
    second = stamp(tmp_path)
    assert second != first and stamp(tmp_path) == second
    (tmp_path / "a").rename(tmp_path / "b")
    assert stamp(tmp_path) != second
