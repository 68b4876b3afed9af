"""Sheet and Axis: a base Request and fields with lists of values, expanded to cells."""

from __future__ import annotations

import itertools
from typing import Any

from pydantic import (
    Field,
    model_validator,
)

from pipelines import samplers
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.request import item_axes
from pipelines.request.base import FrozenModel
from pipelines.request.request import Request

PROMPT_REPLACE = "prompt_replace"
"""The one axis that is no field: its first value, wherever it stands in the prompt, is replaced
by each of its values in turn (search and replace)."""
EVALUATIONS = "evaluations"
"""The other axis that is no field: as many steps as cost at most this many denoiser evaluations,
so that samplers are compared at equal cost."""
PSEUDO_FIELDS = (PROMPT_REPLACE, EVALUATIONS)


def axis_fields() -> list[str]:
    """List what can be an axis; of list fields, the axes of the first item only."""
    of_items = {row.of for row in item_axes.ITEM_AXES}
    own = (name for name in Request.model_fields if name not in of_items)
    return [*own, *PSEUDO_FIELDS, *item_axes.first_axes()]


def check_field(field: str) -> None:
    """Check that a field can be an axis. Raises: UnknownName: if it cannot."""
    known = axis_fields()
    if field not in known and item_axes.item_field(field) is None:
        raise UnknownName.of("axis", field, known, f"known: {', '.join(known)}")


class Axis(FrozenModel):
    """Axis of a sheet: a Request field with the values it takes.

    Attributes:
        zipped: further fields that change in step with this one, with as many values each.
    """

    field: str = Field(description="it must name a field of a Request")
    values: tuple[Any, ...] = Field(min_length=1, description="an axis needs at least one value")
    zipped: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _field_exists(self) -> Axis:
        check_field(self.field)
        for other in self.zipped:
            if other.zipped or len(other.values) != len(self.values):
                raise InvalidRequest(
                    f"axes {self.field!r} ({len(self.values)} values) and {other.field!r} "
                    f"({len(other.values)}) change together; they need as many values each"
                )
        return self

    @property
    def parts(self) -> tuple[Axis, ...]:
        """This axis and those zipped with it."""
        return (self, *self.zipped)

    def changes(self, position: int, base: Request) -> dict[str, Any]:
        """List the fields to replace in `base` at one place along the axis.

        Raises: InvalidRequest: if the text to replace is not in the prompt.
        """
        found = {part.field: part.values[position] for part in self.parts}
        if PROMPT_REPLACE in found:
            part = next(part for part in self.parts if part.field == PROMPT_REPLACE)
            search, replacement = str(part.values[0]), str(found.pop(PROMPT_REPLACE))
            if not search or search not in base.prompt:
                raise InvalidRequest(
                    f"{PROMPT_REPLACE} starts with {search!r}, which is not in the prompt "
                    f"{base.prompt!r}; the first value is what gets replaced"
                )
            found["prompt"] = base.prompt.replace(search, replacement)
        return found


class Sheet(FrozenModel):
    """Sheet: a base Request and any number of axes; expands to cells, the last axis fastest."""

    base: Request = Field(default=Request(), description="it must be a Request")
    axes: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _axes_differ(self) -> Sheet:
        names = [part.field for axis in self.axes for part in axis.parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidRequest(f"axis {twice[0]!r} is given twice; join its values in one")
        if "prompt" in names and PROMPT_REPLACE in names:
            raise InvalidRequest(f"axes 'prompt' and {PROMPT_REPLACE!r} both set the prompt")
        if "steps" in names and EVALUATIONS in names:
            raise InvalidRequest(f"axes 'steps' and {EVALUATIONS!r} both set the steps")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis; () for a single picture."""
        return tuple(len(axis.values) for axis in self.axes)

    def indices(self) -> list[tuple[int, ...]]:
        """List the place of every cell, in axis order."""
        return list(itertools.product(*(range(n) for n in self.shape)))

    def expand(self) -> list[Request]:
        """Expand to the Request of every cell, in axis order.

        Raises: InvalidRequest: for a bad value.
        """
        cells = []
        for index in self.indices():
            changes: dict[str, Any] = {}
            for axis, position in zip(self.axes, index, strict=True):
                changes |= axis.changes(position, self.base)
            if "sampler" in changes and "schedule" not in changes:
                changes["schedule"] = self._schedule_of(str(changes["sampler"]))
            if EVALUATIONS in changes:
                sampler, _ = samplers.parse(str(changes.get("sampler", self.base.sampler)))
                changes["steps"] = samplers.steps_within(sampler, changes.pop(EVALUATIONS))
            cells.append(self.base.replace(**item_axes.apply_item_axes(self.base, changes)))
        return cells

    def _schedule_of(self, sampler: str) -> str:
        """The base's schedule where the sampler has it; else what its name says, or default.

        A comparison of samplers must not fail because one of them has no Karras schedule.
        """
        id, implied = samplers.parse(sampler)
        kept = self.base.schedule
        return implied or (kept if kept in samplers.SAMPLERS[id].schedules else "default")

    @classmethod
    def seeds(cls, base: Request, count: int) -> Sheet:
        """Build a sheet of `count` pictures of one Request, with seeds in a row.

        Raises: InvalidRequest: if count < 1 or the last seed would be out of range.
        """
        if count < 1:
            raise InvalidRequest(f"the number of pictures is {count}; it must be 1 or more")
        if count == 1:
            return cls(base=base)
        return cls(
            base=base,
            axes=(Axis(field="seed", values=tuple(range(base.seed, base.seed + count))),),
        )
