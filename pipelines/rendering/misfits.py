"""Misfits: leaves combinations out of a sheet that its models or samplers cannot do.

What is left is a sheet like any other: a value that fits nowhere goes, and axes that do not fit
with each other become one, of the pairs that do, as the page pairs samplers with schedules.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import InvalidRequest
from pipelines.request.labels import index_text
from pipelines.request.replace_axes import text_of
from pipelines.request.request import Request
from pipelines.request.sheet import Axis, Sheet

Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Combination that was left out: its label, and why it cannot be made."""

    label: str
    reason: str


def fitting(
    sheet: Sheet, resolve: Callable[[Request], Request]
) -> tuple[Sheet, tuple[LeftOut, ...]]:
    """Leave out what cannot be made.

    Args:
        resolve: completes a Request, and raises InvalidRequest for one that cannot be made.
    Returns: the sheet of the rest, and what is not in it.
    Raises: InvalidRequest: if nothing is left. UnknownName: for a name there is not, which is no
        combination but a mistake.
    """
    misfits = dict(_misfits(sheet, resolve))
    if not misfits:
        return sheet, ()
    if len(misfits) == len(sheet.indices()):
        raise InvalidRequest(f"no combination can be made: {next(iter(misfits.values()))}")
    left_out = tuple(LeftOut(index_text(sheet, i), why) for i, why in misfits.items())
    return _without(sheet, frozenset(misfits)), left_out


def _misfits(sheet: Sheet, resolve: Callable[[Request], Request]) -> Iterator[tuple[Index, str]]:
    for index in sheet.indices():
        try:
            resolve(sheet.cell(index))
        except InvalidRequest as error:
            yield index, str(error)


def _without(sheet: Sheet, misfits: frozenset[Index]) -> Sheet:
    """The sheet without some cells: the fewest axes that decide which these are, joined."""
    indices = sheet.indices()
    for count in range(1, len(sheet.axes) + 1):
        for some in itertools.combinations(range(len(sheet.axes)), count):
            fits: dict[Index, bool] = {}
            decided = all(
                fits.setdefault(tuple(index[i] for i in some), index not in misfits)
                == (index not in misfits)
                for index in indices
            )
            if decided:
                return _joined(sheet, some, [place for place, fit in fits.items() if fit])
    raise AssertionError("all axes together decide")


def _joined(sheet: Sheet, some: Sequence[int], places: Sequence[Index]) -> Sheet:
    """The sheet with some of its axes as one, where the first of them was."""
    values: Mapping[str, tuple[object, ...]] = {
        part.field: tuple(part.values[place[n]] for place in places)
        for n, axis in enumerate(some)
        for part in sheet.axes[axis].parts
    }
    for axis in some:
        for part in sheet.axes[axis].parts:
            if text_of(part.field) and values[part.field][0] != part.values[0]:
                raise InvalidRequest(
                    f"{part.field} cannot leave out its first value, which is what gets replaced"
                )
    parts = [Axis(field=field, values=of_field) for field, of_field in values.items()]
    joined = Axis(field=parts[0].field, values=parts[0].values, zipped=tuple(parts[1:]))
    axes = [
        joined if i == some[0] else axis
        for i, axis in enumerate(sheet.axes)
        if i == some[0] or i not in some
    ]
    return Sheet(base=sheet.base, axes=tuple(axes))
