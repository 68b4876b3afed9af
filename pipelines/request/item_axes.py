"""Axes over list fields: maps an axis such as `control2_strength` to one field of one item.

One row a list field, in `ITEM_AXES`; a further list field of Request needs one row more. What an
axis may be, what its values are, how it is labelled and how a sheet expands all read the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, get_args

from pydantic import BaseModel

from pipelines.errors import InvalidRequest
from pipelines.request import control, lora
from pipelines.request.base import FrozenModel
from pipelines.request.control import Control
from pipelines.request.lora import LoRA

Item = TypeVar("Item", bound=FrozenModel)


@dataclass(frozen=True, slots=True)
class ItemAxes(Generic[Item]):
    """Row of one list field: its axes, their labels, and how they change an item.

    Attributes:
        prefix: of the axes of the first item; those of the second begin with `prefix`2.
        item: class of the items.
        of: the list field's name in Request.
        most: items in the list at most; not more than 9.
        fields: what follows the prefix and the number → the item's field.
        put: the item with some of its fields changed; None takes it away. The item is None where
            one is added.
        noun: an item in labels and errors.
        added_by: the field that may add an item at the end; None where axes add none.
        labels: the item's field → what stands before its values; others go by their own name.
        none: the value that takes an item away, as its axis shows it.
        shortened: fields whose values are hashes, shown by their first digits.
    """

    prefix: str
    item: type[Item]
    of: str
    most: int
    fields: Mapping[str, str]
    put: Callable[[Item | None, Mapping[str, Any]], Item | None]
    noun: str
    added_by: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    none: str | None = None
    shortened: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of the first item."""
        return tuple(f"{self.prefix}{ending}" for ending in self.fields)

    def find(self, axis: str) -> ItemField | None:
        """Find the field that an axis changes; None for an axis of something else."""
        if not axis.startswith(self.prefix):
            return None
        number, ending = 1, axis.removeprefix(self.prefix)
        if "2" <= ending[:1] <= str(self.most):
            number, ending = int(ending[0]), ending[1:]
        name = self.fields.get(ending)
        return None if name is None else ItemField(self, number - 1, name)

    def apply(
        self, items: tuple[Item, ...], slots: Mapping[int, Mapping[str, tuple[str, Any]]]
    ) -> tuple[Item, ...]:
        """Apply the changes of some items.

        Args:
            slots: number of an item → its field → the axis that changes it, and the new value.
        Raises: InvalidRequest: if an item that is to change is not there, or a value is not
            allowed.
        """
        places: list[Item | None] = list(items)
        for number, changes in sorted(slots.items()):
            if number == len(places) and self.added_by in changes:
                places.append(None)
            if number >= len(places):
                axis, _ = changes.get(self.added_by or "", next(iter(changes.values())))
                raise self._missing(axis, number, len(places))
            values = {name: value for name, (_, value) in changes.items()}
            places[number] = self.put(places[number], values)
        return tuple(one for one in places if one is not None)

    def _missing(self, axis: str, number: int, there: int) -> InvalidRequest:
        return InvalidRequest(
            f"axis {axis!r} changes {self.noun} {number + 1}, but there "
            f"{'is' if there == 1 else 'are'} {there or 'no'} {self.noun}"
            f"{'' if there == 1 else 's'}; add it, or leave the axis out"
        )


def _parts_of(annotation: Any) -> Iterator[Any]:
    """The types of a union; `Number` is a float with a validator."""
    for part in get_args(annotation):
        yield getattr(part, "__origin__", part)


class ItemField(NamedTuple):
    """One field of one item of a list field: what an axis changes.

    Attributes:
        number: of the item, from 0.
        name: of the item's field.
    """

    row: ItemAxes[Any]
    number: int
    name: str

    @property
    def kind(self) -> type[float] | type[str]:
        """Type of the axis' values."""
        annotation = self.row.item.model_fields[self.name].annotation
        return float if float in (annotation, *_parts_of(annotation)) else str

    @property
    def label(self) -> str:
        """Label before the values; a second item's says so, as in `control 2 from`."""
        label = self.row.labels.get(self.name, self.name)
        if not self.number:
            return label
        # As "control 2 from 0.5": a number behind the name would read as a value.
        rest = label.removeprefix(self.row.noun).strip()
        return f"{self.row.noun} {self.number + 1} {rest}".strip()

    def takes_away(self, value: Any) -> bool:
        """Tell whether a value means the picture without this item."""
        return self.row.none is not None and value == self.row.none

    def text(self, value: Any) -> str | None:
        """Write a value as people read it; None where it reads as any value does."""
        if self.takes_away(value):
            return "without"
        return str(value)[:8] if self.name in self.row.shortened else None


ITEM_AXES: tuple[ItemAxes[Any], ...] = (
    ItemAxes(
        "control",
        Control,
        of="controls",
        most=control.MOST,
        fields={f"_{name}": name for name in Control.model_fields},
        put=control.put_control,
        noun="control",
        labels={
            "image": "picture",
            "preprocessor": "map",
            "model": "control",
            "start": "control from",
            "stop": "control until",
        },
        shortened=("image",),
    ),
    ItemAxes(
        "lora",
        LoRA,
        of="loras",
        most=lora.MOST,
        fields={"": "name", "_scale": "scale", "_text_scale": "text_scale"},
        put=lora.put_lora,
        added_by="name",
        noun="LoRA",
        labels={"name": "LoRA", "scale": "LoRA scale", "text_scale": "LoRA text scale"},
        none=lora.NONE,
    ),
)
"""The list fields of Request whose items have axes."""


def item_field(axis: str) -> ItemField | None:
    """Find the item's field that an axis changes; None for a field of Request itself."""
    return next((found for row in ITEM_AXES if (found := row.find(axis)) is not None), None)


def first_axes() -> Iterator[str]:
    """List the axes of the first item of every list field."""
    for row in ITEM_AXES:
        yield from row.axes


def apply_item_axes(base: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Turn changes that name items' fields into changes of a Request's own fields.

    Raises: InvalidRequest: if an item that is to change is not there, or a value is not allowed.
    """
    rest = dict(changes)
    for row in ITEM_AXES:
        slots: dict[int, dict[str, tuple[str, Any]]] = {}
        for axis in changes:
            found = row.find(axis)
            if found is not None:
                slots.setdefault(found.number, {})[found.name] = axis, rest.pop(axis)
        if slots:
            rest[row.of] = row.apply(getattr(base, row.of), slots)
    return rest
