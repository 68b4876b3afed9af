"""Axis grammar: parses text such as `guidance_scale=1-10 (+2)` into an Axis with its values.

| text | values |
| --- | --- |
| `1,3,5` | 1, 3, 5 |
| `1-4` | 1, 2, 3, 4 |
| `1-10 (+2)` | 1, 3, 5, 7, 9: the end is there when it is hit, and never overshot |
| `10-5 (-1)` | 10, 9, 8, 7, 6, 5 |
| `1-10 [4]` | 1, 4, 7, 10: that many, evenly spaced, both ends included |
| `a red apple, "an apple, cut"` | two texts; quotes keep commas (`utils.value_list`) |

`prompt_variants=a {red|green} apple, cut` is an axis of prompts: all that this template stands for
(`request.prompt_templates`), its commas included; `[20]` behind it draws 20 of them, `[20 @7]`
with seed 7.

Numbers are computed in exact decimals; evenly spaced ones of a field that takes whole numbers are
rounded to these. Lists and ranges mix: `1, 3-5, 10`. Two axes that change
together are joined by ` & `: `steps=10,20 & guidance_scale=3,5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import get_args

from pipelines.errors import InvalidRequest
from pipelines.request import skip_layers
from pipelines.request.field_aliases import own_name
from pipelines.request.item_axes import item_field
from pipelines.request.prompts import prompt_templates
from pipelines.request.replace_axes import text_of
from pipelines.request.request import Request
from pipelines.request.sheet import EVALUATIONS, Axis, check_field
from pipelines.utils.value_list import outside_quotes, split

MOST_VALUES = 1000
"""Values that one axis may have."""

PROMPT_VARIANTS = "prompt_variants"
"""Written like a field: an axis of prompts, given by a template. A Sheet holds the prompts
themselves, so it means the same when a wildcard file has changed."""

DIGITS_MAX = 60
"""Digits of one number; exact arithmetic with a million of them takes minutes."""

# Possessive, here and below: what does not match is found out in one look at each character.
_NUMBER = r"[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)"
_RANGE = re.compile(
    rf"({_NUMBER})\s*+-\s*+({_NUMBER})\s*+"
    rf"(?:\(\s*+({_NUMBER})\s*+\)|\[\s*+(\d++)\s*+\])?+"
)
_SINGLE = re.compile(_NUMBER)
_SAMPLE = re.compile(r"\s*+(\d++)\s*+(?:@\s*+(\d++)\s*+)?+")
_TOGETHER = re.compile(r"\s&\s(?=\s*[A-Za-z0-9_]+\s*=)")


def parse_axis(text: str, wildcards: Sequence[Path] = ()) -> Axis:
    """Parse an axis, `field=values`, with what changes in step with it after ` & `.

    Args:
        wildcards: folders with the wildcards of `prompt_variants`.
    Raises: UnknownName: for a field that does not exist; InvalidRequest: naming the bad value.
    """
    first, *rest = [_parse_one(part, wildcards) for part in _together(text)]
    return Axis(field=first.field, values=first.values, zipped=tuple(rest))


def _together(text: str) -> Iterator[str]:
    """Split at ` & field=`, unless that stands in quotes."""
    outside = outside_quotes(text)
    start = 0
    for match in _TOGETHER.finditer(text):
        if outside[match.start() + 1]:
            yield text[start : match.start()]
            start = match.end()
    yield text[start:]


def _parse_one(text: str, wildcards: Sequence[Path]) -> Axis:
    field, equals, values = text.partition("=")
    if not equals:
        raise InvalidRequest(
            f"axis {text!r} has no '='; write it as field=values, such as guidance_scale=1,3,5"
        )
    field = own_name(field)
    if field == PROMPT_VARIANTS:
        return Axis(field="prompt", values=prompt_variants(values, wildcards))
    return Axis(field=field, values=parse_values(field, values))


def prompt_variants(text: str, wildcards: Sequence[Path] = ()) -> tuple[str, ...]:
    """Expand a template, which may be in quotes, to prompts.

    Raises: UnknownName, InvalidRequest.
    """
    template, sample, seed = _sampled(text.strip())
    if len(template) > 1 and template[0] == template[-1] == '"':
        template = template[1:-1].replace('""', '"')
    if not template:
        raise InvalidRequest(
            f"axis {PROMPT_VARIANTS!r} has no template; give one, such as a {{red|green}} apple"
        )
    return prompt_templates.expand(template, wildcards, sample, seed)


def _sampled(text: str) -> tuple[str, int | None, int]:
    """The template of a text, how many prompts to draw of it, and the seed of the draw."""
    template, bracket, inside = text.removesuffix("]").rpartition("[")
    match = _SAMPLE.fullmatch(inside) if bracket and text.endswith("]") else None
    if match is None:
        return text, None, 0
    return template.rstrip(), int(_number(match[1])), int(_number(match[2] or "0"))


def parse_values(field: str, text: str) -> tuple[int | float | str, ...]:
    """Parse the values of one field.

    Args:
        field: of Request, or `prompt_replace` or `evaluations`; it decides whether values are
            numbers or texts.
    Raises: UnknownName, InvalidRequest: naming the bad value.
    """
    kind = value_type(field)
    entries = split(text)
    values: list[Decimal | str] = []
    for entry in entries:
        values += [entry] if kind in (str, bool) else _numbers(field, entry, kind is int)
        if len(values) > MOST_VALUES:
            more = "" if next(entries, None) is None else " or more"
            raise InvalidRequest(
                f"axis {field!r} has {len(values)} values{more}; at most {MOST_VALUES} are allowed"
            )
    if not values:
        raise InvalidRequest(f"axis {field!r} has no values; give some, such as {_EXAMPLE[kind]}")
    if kind is str:
        return tuple(map(str, values))
    if kind is bool:
        return tuple(_switch(field, str(value)) for value in values)
    if kind is int:
        return tuple(_whole(field, Decimal(value)) for value in values)
    return tuple(float(value) for value in values)


_EXAMPLE = {int: "1-4", float: "1,3,5", str: '"a red apple", "a pear"', bool: "false,true"}


def _switch(field: str, entry: str) -> bool:
    """A value of a field that is on or off."""
    if entry.lower() not in ("true", "false"):
        raise InvalidRequest(f"axis {field!r}: {entry!r} is neither true nor false")
    return entry.lower() == "true"


def value_type(field: str) -> type[int] | type[float] | type[str] | type[bool]:
    """Look up the type of a field's values. Raises: UnknownName: if there is no such field."""
    field = own_name(field)
    if field == skip_layers.FIELD or text_of(field) is not None:
        return str
    if field == EVALUATIONS:
        return int
    check_field(field)
    of_item = item_field(field)
    if of_item is not None:
        return of_item.kind
    annotation = Request.model_fields[field].annotation
    for kind in (str, int, float, bool):
        if annotation is kind or kind in get_args(annotation):
            return kind
    raise TypeError(f"Request.{field} is neither text nor a number")  # a new kind of field


def _numbers(field: str, entry: str, whole: bool) -> list[Decimal]:
    """The numbers of one entry: a number or a range."""
    if _SINGLE.fullmatch(entry):
        return [_number(entry)]
    match = _RANGE.fullmatch(entry)
    if not match:
        raise InvalidRequest(
            f"axis {field!r}: {entry!r} is no number and no range; "
            "write 5, 1-10, 1-10 (+2) or 1-10 [5]"
        )
    start, end = _number(match[1]), _number(match[2])
    if match[4] is not None:
        spaced = _spaced(field, entry, start, end, int(_number(match[4])))
        return _rounded(field, entry, spaced) if whole else spaced
    step = _number(match[3]) if match[3] is not None else Decimal(1 if end >= start else -1)
    if step == 0 or (end - start) * step < 0:
        raise InvalidRequest(f"axis {field!r}: {entry!r} never arrives with steps of {step}")
    _check_count(field, entry, int((end - start) / step) + 1)
    return [start + step * i for i in range(int((end - start) / step) + 1)]


def _number(text: str) -> Decimal:
    if len(text) > DIGITS_MAX:
        raise InvalidRequest(
            f"the number {text!r} has {len(text)} digits; at most {DIGITS_MAX} are allowed"
        )
    return Decimal(text)


def _spaced(field: str, entry: str, start: Decimal, end: Decimal, count: int) -> list[Decimal]:
    _check_count(field, entry, count)
    if count < 2:
        raise InvalidRequest(f"axis {field!r}: {entry!r} asks for {count} values; two or more work")
    # The last value is the end itself: a division may leave a digit too many.
    inner = [start + (end - start) * i / (count - 1) for i in range(count - 1)]
    return [*inner, end]


def _rounded(field: str, entry: str, values: Sequence[Decimal]) -> list[Decimal]:
    """The nearest whole numbers, halves upwards; each end must be one."""
    for end in (values[0], values[-1]):
        _whole(field, end)
    found = [value.to_integral_value(ROUND_HALF_UP) for value in values]
    if len(set(found)) < len(found):
        raise InvalidRequest(
            f"axis {field!r}: {entry!r} asks for {len(found)} values; there are only "
            f"{len(set(found))} whole numbers among them"
        )
    return found


def _check_count(field: str, entry: str, count: int) -> None:
    if count > MOST_VALUES:
        raise InvalidRequest(
            f"axis {field!r}: {entry!r} has {count} values; at most {MOST_VALUES} are allowed"
        )


def _whole(field: str, value: Decimal) -> int:
    if value != value.to_integral_value():
        raise InvalidRequest(f"axis {field!r} takes whole numbers; {value.normalize():f} is none")
    return int(value)
