r"""Value list: splits `a, "b, c"` at its commas, quotes as people and their word processors write.

| text | entries |
| --- | --- |
| `a red apple, "an apple, cut"` | two: commas in quotes are text |
| `'a, b'`, `“a, b”`, `„a, b“`, `«a, b»`, `‘a, b’` | one each: every pair of quotes will do |
| `"an ""x"" apple"`, `"an \"x\" apple"` | one each: `an "x" apple` |
| `the artist's, 5" nails` | two: within a value, quotes are text |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pipelines.errors import InvalidRequest, shortened

_CLOSED_BY = {
    '"': '"', "'": "'", "“": "”“", "”": "”", "„": "“”", "‘": "’‘", "‚": "‘’", "«": "»", "»": "«",
    "「": "」", "『": "』",
}  # fmt: skip
"""Quotes by what closes them; languages differ in which sign of a pair comes first."""
_APOSTROPHES = "'‘"
"""Begin words too: 'tis. They are quotes where one closes them before a comma or the end."""
_AROUND = 24
_AT_END = re.compile(r"\s*+(?:,|\Z|&\s++\w++\s*+=)")
"""Behind an entry: a comma, the end, or an axis that changes in step."""


def _quoted_by(opening: str, escapes: str) -> re.Pattern[str]:
    closing = "".join(map(re.escape, _CLOSED_BY[opening]))
    parts = [f"[^{closing}\\\\]", escapes]
    if opening in _CLOSED_BY[opening]:
        parts.append(re.escape(opening) * 2)
    if opening in _APOSTROPHES:
        parts.append(rf"[{closing}](?!{_AT_END.pattern})")
    return re.compile(f"{re.escape(opening)}(?:{'|'.join(parts)})*+[{closing}]", re.DOTALL)


# As spreadsheets quote first: a value may end in a backslash. Then as programs do.
_QUOTED = {
    opening: (_quoted_by(opening, r"\\"), _quoted_by(opening, r"\\[\"']|\\"))
    for opening in _CLOSED_BY
}


def split(text: str) -> Iterator[str]:
    """Split a comma-separated list, trimming entries; commas in quotes stay.

    Raises: InvalidRequest: for an empty entry, a quote that is not closed, or text behind one; it
        marks the place.
    """
    if not text.strip():
        return
    at = 0
    while True:
        entry, at = _entry(text, at)
        yield entry
        if at == len(text):
            return
        at += 1


def outside_quotes(text: str, start: int = 0) -> list[bool]:
    """Tell for every character whether it is outside of quoted entries.

    A quote that is not closed quotes nothing: `split` says so where it is read.
    """
    outside = [True] * len(text)
    begins = True
    at = start
    while at < len(text):
        quotes = begins and text[at] in _CLOSED_BY
        end = _closing(text, at) if quotes else None
        if quotes and end is None and text[at] not in _APOSTROPHES:
            break
        if end is not None:
            outside[at : end + 1] = [False] * (end + 1 - at)
            at = end
        begins = text[at] in ",=" or (begins and text[at].isspace())
        at += 1
    return outside


def _entry(text: str, start: int) -> tuple[str, int]:
    """Read the entry at a place, and where it ends: at a comma or the end of the text."""
    at = start
    while at < len(text) and text[at].isspace():
        at += 1
    if at < len(text) and text[at] in _CLOSED_BY:
        end = _closing(text, at)
        if end is not None:
            return _unquoted(text[at : end + 1]), _behind(text, end + 1)
        if text[at] not in _APOSTROPHES:
            raise InvalidRequest(f"a quote is not closed {marked(text, at)}")
    end = text.find(",", at)
    end = len(text) if end < 0 else end
    entry = text[at:end].strip()
    if not entry:
        raise InvalidRequest(
            f'there is an empty value {marked(text, min(at, len(text) - 1))}; write "" to mean '
            "empty text, and no comma behind the last value"
        )
    _check_commas(text, at, end)
    return entry, end


def _closing(text: str, start: int) -> int | None:
    """Find the quote that closes the one at a place; None if there is none."""
    if text[start] in _APOSTROPHES:
        if text[start + 1 : start + 2] in set(_CLOSED_BY[text[start]]) and _AT_END.match(
            text, start + 2
        ):
            return start + 1
        if start >= _last_end(text, text[start]):
            return None
    found = [match.end() for one in _QUOTED[text[start]] if (match := one.match(text, start))]
    ends = next((end for end in found if _AT_END.match(text, end)), None)
    return (ends or found[0]) - 1 if found else None


@lru_cache(maxsize=4)
def _last_end(text: str, opening: str) -> int:
    """Find the last place where such a quote can be closed; -1 if there is none.

    A text may have thousands of apostrophes at the beginning of words.
    """
    ends = [
        match.end() - 1
        for sign in _CLOSED_BY[opening]
        for match in re.finditer(f"(?<!{sign})(?:{sign}{sign})*+{sign}(?={_AT_END.pattern})", text)
    ]
    return max(ends, default=-1)


def _behind(text: str, at: int) -> int:
    """Step over blanks behind a quoted entry. Raises: InvalidRequest: if text stands there."""
    while at < len(text) and text[at].isspace():
        at += 1
    if at < len(text) and text[at] != ",":
        raise InvalidRequest(
            f"there is text behind a closed quote {marked(text, at)}; put the whole value in "
            'quotes, those inside it doubled: "a ""red"" apple"'
        )
    return at


def _unquoted(quoted: str) -> str:
    sign, inside = quoted[0], quoted[1:-1]
    by_doubling, _ = _QUOTED[sign]
    if not by_doubling.fullmatch(quoted):
        inside = inside.replace('\\"', '"').replace("\\'", "'")
    return inside.replace(sign * 2, sign) if quoted[-1] == sign else inside


def _check_commas(text: str, start: int, comma: int) -> None:
    """Refuse a comma in quotes that begin inside a value: was it meant as text, or as its end?"""
    opened = next(
        (
            at for at in range(start + 1, comma)
            if text[at] in '"“„«' and text[at - 1].isspace() and not text[at + 1 : at + 2].isspace()
        ),
        None,
    )  # fmt: skip
    if opened is None or comma == len(text):
        return
    closing = _CLOSED_BY[text[opened]]
    if any(sign in text[opened + 1 : comma] for sign in closing):
        return
    end = next((at for at in range(comma, len(text)) if text[at] in closing), None)
    if end is not None and not text[end - 1].isspace() and text[end - 1] != ",":
        raise InvalidRequest(
            f"a comma stands in quotes inside a value {marked(text, comma)}; put the whole value "
            'in quotes, those inside it doubled: "a sign ""stop, now"""'
        )


def marked(text: str, at: int) -> str:
    """Write where in a text something is: its number from 1, and what stands there."""
    behind = text[at : at + _AROUND] + ("…" if len(text) > at + _AROUND else "")
    return f"in {shortened(text)!r} at character {at + 1}, where it says {behind!r}"
