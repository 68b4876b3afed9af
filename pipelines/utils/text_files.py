"""Text files: reads what editors write, in whatever encoding, and says what they may not hold."""

from __future__ import annotations

import codecs
import logging
import re
from functools import cache
from pathlib import Path

from pipelines.errors import InvalidRequest

# The longer marks first: one of UTF-32 begins like one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WINDOWS = "cp1252"
"""What a Western editor writes that marks nothing, and what most texts in ISO 8859-1 are too."""
_END = re.compile(r"\r\n|\r|\n")
log = logging.getLogger(__name__)


def read_lines(file: Path) -> list[str]:
    """Read a text file as lines without their ends, of Windows, Unix or the old Mac.

    It is UTF-8, with or without a mark, UTF-16 or UTF-32 with one, or else Windows-1252, which is
    said in the log: nothing in the file tells that from other encodings of one byte a letter.
    Raises: InvalidRequest: if it cannot be read as any, or holds NUL; it names line and column.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from None
    mark, encoding = next((one for one in _MARKS if content.startswith(one[0])), (b"", "utf-8"))
    body = content.removeprefix(mark)
    if mark and encoding != "utf-8" and not body:
        raise InvalidRequest(f"{file} cannot be read: there is no text behind its mark of Unicode")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        if mark:
            raise _unreadable(file, body[: error.start].decode(encoding), "no text") from None
        text = _western(file, body, error.start)
    if "\0" in text:
        raise _unreadable(file, text[: text.index("\0")], "a NUL byte")
    return _END.split(text)


def _western(file: Path, body: bytes, start: int) -> str:
    """Read a text that is no UTF-8; a NUL byte in it means that it is none of Western letters."""
    before = body[:start].decode()
    try:
        text = body.decode(_WINDOWS)
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(_WINDOWS)
        raise _unreadable(file, before, f"the byte 0x{body[error.start]:02x}") from None
    if "\0" not in text:
        _say(file, *_place(before))
    return text


@cache
def _say(file: Path, line: int, column: int) -> None:
    """Warn once: the page reads its files at every key."""
    log.warning(
        "%s is not UTF-8 at line %d, column %d; it is read as Windows-1252. Save it as UTF-8 if "
        "its letters are not Western", file, line, column,
    )  # fmt: skip


def _unreadable(file: Path, before: str, what: str) -> InvalidRequest:
    line, column = _place(before)
    return InvalidRequest(
        f"{file} cannot be read: {what} at line {line}, column {column}; save it as UTF-8"
    )


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows a text."""
    lines = _END.split(before)
    return len(lines), len(lines[-1]) + 1
