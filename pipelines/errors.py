"""Every error a user can cause or meet, in one tree.

    ContactSheetError
    ├── InvalidRequest      a value is out of range, or values do not fit together
    ├── UnknownName         a sampler, schedule, model or field that does not exist
    ├── ModelUnavailable    a model is missing, broken, unsafe or of an unsupported kind
    ├── OutOfMemory         the device is too small, after everything that frees memory was tried
    ├── StorageUnavailable  what was made cannot be kept or read now: full, locked, damaged, gone
    │   └── StorageLocked   another process has its database locked
    ├── Busy                too many runs wait already
    └── Cancelled           the user stopped the run

A message says what came, what is allowed and what to do. Only `ui/` turns these into
`gr.Error` and only `app.py` into exit codes. Any other exception is a bug and surfaces.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

QUOTE_MAX = 190
"""Characters of a quote that a message repeats: what came may be as long as a book."""
_MESSAGE_MAX = 2000
_INSIDE = r"(?:\\.|(?!(?P=sign))[^\\])"
# A quote does not begin behind a letter: that is an apostrophe.
_LONG_QUOTE = re.compile(
    rf"(?<!\w)(?P<sign>['\"])(?P<head>{_INSIDE}{{{QUOTE_MAX}}}){_INSIDE}++(?P=sign)?+", re.DOTALL
)
# Names stand without quotes, too.
_LONG_WORD = re.compile(rf"(\S{{{QUOTE_MAX}}})\S{{10,}}+")


class ContactSheetError(Exception):
    """Base of all errors that are shown to the user as they are, with long quotes cut."""

    def __init__(self, message: str = "") -> None:
        super().__init__(with_short_quotes(message))


class InvalidRequest(ContactSheetError):
    """A value is out of range, or values do not fit together."""


class UnknownName(ContactSheetError):
    """A name that no registry knows."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], where: str) -> UnknownName:
        """An error that names the closest known name and where all of them are listed.

        The first that begins with what was written is closest: `guidance` is `guidance_scale`.
        """
        name = shortened(name)
        options = list(known)
        folded = {option.lower(): option for option in options}
        begun = [one for one in folded if len(name) > 2 and one.startswith(name.lower())]
        close = begun or difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.5)
        if close:
            hint = f"did you mean {folded[close[0]]!r}? "
        elif options and len(options) <= 8:
            hint = f"known: {', '.join(options)} "
        else:
            hint = ""
        return cls(f"unknown {kind} {name!r}; {hint}({where})")


class ModelUnavailable(ContactSheetError):
    """A model is missing, broken, unsafe or of a kind that is not supported."""


class OutOfMemory(ContactSheetError):
    """The device is too small for this cell, after all that frees memory was tried."""


class StorageUnavailable(ContactSheetError):
    """The outputs folder or its database cannot be written or read now."""


class StorageLocked(StorageUnavailable):
    """Another process has the database locked."""


class Busy(ContactSheetError):
    """Too many runs wait already."""


class Cancelled(ContactSheetError):
    """The user stopped the run."""


def with_short_quotes(message: str) -> str:
    """Cut what a message quotes, and a message that is long all the same."""
    cut = _LONG_WORD.sub(r"\1…", _LONG_QUOTE.sub(r"\g<sign>\g<head>…\g<sign>", message))
    return cut if len(cut) <= _MESSAGE_MAX else f"{cut[:_MESSAGE_MAX]}…"


def shortened(text: str, length: int = 200) -> str:
    """Cut a text that a message repeats: what came may be as long as a book."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def first_line(error: BaseException, title_lines: int = 0) -> str:
    """Take the first line of an error's text; the name of its type where it has none.

    Args:
        title_lines: lines before it that say less, such as torch's "Error(s) in loading …"; where
            nothing follows, the last of them is taken.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(title_lines, len(lines) - 1)] if lines else type(error).__name__
