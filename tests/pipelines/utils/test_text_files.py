"""Text files in every encoding that editors write."""

from __future__ import annotations

import codecs
import logging
from pathlib import Path

import pytest

from pipelines import InvalidRequest
from pipelines.utils.text_files import read_lines

LINES = ["crème brûlée", "naïve “quotes”", "€ 5", ""]
TEXT = "\n".join(LINES)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"), (b"", "cp1252"),
    ],
)  # fmt: skip
def test_the_same_lines_come_out(tmp_path: Path, mark: bytes, encoding: str, end: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(mark + TEXT.replace("\n", end).encode(encoding))
    assert read_lines(file) == LINES


def test_only_ends_of_lines_end_them(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a\x0bb\u2028c\x85d\n", encoding="utf-8")
    assert read_lines(file) == ["a\x0bb\u2028c\x85d", ""]
    for empty in (b"", codecs.BOM_UTF8):
        file.write_bytes(empty)
        assert read_lines(file) == [""]


def test_what_is_not_utf_8_is_said_once_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "old.txt"
    file.write_bytes("apple\npear crème\n".encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert read_lines(file) == read_lines(file) == ["apple", "pear crème", ""]
    (said,) = [one.getMessage() for one in caplog.records]
    assert "old.txt is not UTF-8 at line 2, column 8; it is read as Windows-1252" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\nbc\0d", "a NUL byte at line 2, column 3"),
        ("ab\nc".encode("utf-16-le"), "a NUL byte at line 1, column 2"),
        ("é\nà".encode("utf-16-le"), "a NUL byte at line 1, column 2"),
        (b"a\r\n\xe9\x81", "the byte 0x81 at line 2, column 2"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0\x00\xd8b\0", "no text at line 2, column 1"),
        (codecs.BOM_UTF16_LE, "no text behind its mark"),
        (codecs.BOM_UTF8 + b"ab\xff", "no text at line 1, column 3"),
    ],
)
def test_what_is_no_text_is_refused_at_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "odd.txt"
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"odd\.txt cannot be read") as caught:
        read_lines(file)
    assert said in str(caught.value)
