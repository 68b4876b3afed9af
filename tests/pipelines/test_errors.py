"""The first line of an error, whatever another library wrote into it."""

from __future__ import annotations

import pytest

from pipelines.errors import first_line


@pytest.mark.parametrize(
    ("text", "titles", "line"),
    [
        ("one", 0, "one"),
        ("\n  one  \ntwo", 0, "one"),
        ("title:\n\n\tone\ntwo", 1, "one"),
        ("title alone", 1, "title alone"),
        ("", 0, "ValueError"),
        (" \n ", 1, "ValueError"),
    ],
)
def test_first_lines(text: str, titles: int, line: str) -> None:
    assert first_line(ValueError(text), titles) == line
