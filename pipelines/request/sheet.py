"""Sheet and Axis: a base Request and fields with lists of values, expanded to cells."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import (
    Field,
    model_validator,
)

from pipelines import samplers
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.request import item_axes, replace_axes
from pipelines.request.base import FrozenModel
from pipelines.request.field_aliases import own_name
from pipelines.request.prompts import prompt_tags
from pipelines.request.replace_axes import Replacement
from pipelines.request.request import RANDOM_SEED, Request, draw_seed

PROMPT_REPLACE = replace_axes.LISTED[0]
"""The first of the axes that replace in a prompt (`request.replace_axes`)."""
EVALUATIONS = "evaluations"
"""Another axis that is no field: as many steps as cost at most this many denoiser evaluations,
so that samplers are compared at equal cost."""
PSEUDO_FIELDS = (*replace_axes.LISTED, EVALUATIONS)


def axis_fields() -> list[str]:
    """List what can be an axis; of list fields, the axes of the first item only."""
    of_items = {row.of for row in item_axes.ITEM_AXES}
    own = (name for name in Request.model_fields if name not in of_items)
    return [*own, *PSEUDO_FIELDS, *item_axes.first_axes()]


def check_field(field: str) -> None:
    """Check that a field can be an axis. Raises: UnknownName: if it cannot."""
    known = axis_fields()
    if field in known or replace_axes.text_of(field) is not None:
        return
    if item_axes.item_field(field) is None:
        raise UnknownName.of("axis", field, known, f"known: {', '.join(known)}")


class Axis(FrozenModel):
    """Axis of a sheet: a Request field with the values it takes.

    Attributes:
        zipped: further fields that change in step with this one, with as many values each.
    """

    field: str = Field(description="it must name a field of a Request")
    values: tuple[Any, ...] = Field(min_length=1, description="an axis needs at least one value")
    zipped: tuple[Axis, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _own_name(cls, data: Any) -> Any:
        """Accept a field's name in other tools; store ours only."""
        if isinstance(data, Mapping) and isinstance(data.get("field"), str):
            return {**data, "field": own_name(data["field"])}
        return data

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

    def changes(self, position: int) -> dict[str, Any]:
        """List what changes at one place along the axis, by the names of fields and axes."""
        return {
            part.field: Replacement(str(part.values[0]), str(part.values[position]))
            if replace_axes.text_of(part.field)
            else part.values[position]
            for part in self.parts
        }


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
        for name in names:
            text = replace_axes.text_of(name)
            if text in names:
                words = str(text).replace("_", " ")
                raise InvalidRequest(f"axes {text!r} and {name!r} both set the {words}")
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
        return [self.cell(index) for index in self.indices()]

    def cell(self, index: Sequence[int]) -> Request:
        """Build the Request of the cell at one place. Raises: InvalidRequest: for a bad value."""
        changes: dict[str, Any] = {}
        for axis, position in zip(self.axes, index, strict=True):
            changes |= axis.changes(position)
        self._replace(changes)
        if "sampler" in changes and "schedule" not in changes:
            changes["schedule"] = self._schedule_of(str(changes["sampler"]))
        if EVALUATIONS in changes:
            sampler, _ = samplers.parse(str(changes.get("sampler", self.base.sampler)))
            changes["steps"] = samplers.steps_within(sampler, changes.pop(EVALUATIONS))
        base = self.base
        if "<" in changes.get("prompt", base.prompt):
            # Its LoRAs are among those that axes change, behind the base's own.
            base = prompt_tags.carry_out(base.replace(prompt=changes.pop("prompt", base.prompt)))
        return base.replace(**item_axes.apply_item_axes(base, changes))

    def _replace(self, changes: dict[str, Any]) -> None:
        """Turn replacements into the prompts that they make."""
        for field in ("prompt", "negative_prompt"):
            axes = [axis for axis in changes if replace_axes.text_of(axis) == field]
            if axes:
                found = {axis: changes.pop(axis) for axis in axes}
                changes[field] = replace_axes.replaced(field, getattr(self.base, field), found)

    def with_seeds(self) -> Sheet:
        """Draw every random seed of a copy: one for the base, one for each value of an axis."""
        axes = tuple(map(_with_seeds, self.axes))
        base = self.base.with_seed()
        return self if (base, axes) == (self.base, self.axes) else Sheet(base=base, axes=axes)

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
        base = base.with_seed(count)
        return cls(
            base=base,
            axes=(Axis(field="seed", values=tuple(range(base.seed, base.seed + count))),),
        )


def _with_seeds(axis: Axis) -> Axis:
    """An axis whose random seeds are drawn."""
    values = axis.values
    if axis.field == "seed":
        values = tuple(draw_seed() if str(one) == str(RANDOM_SEED) else one for one in values)
    return Axis(field=axis.field, values=values, zipped=tuple(map(_with_seeds, axis.zipped)))
