"""Axes over list fields: one row of the table is all that a further list field needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from pipelines import Axis, Control, InvalidRequest, LoRA, Request, Sheet, UnknownName
from pipelines.request import item_axes
from pipelines.request.axis_grammar import parse_axis, value_type
from pipelines.request.base import FrozenModel, Number
from pipelines.request.item_axes import ITEM_AXES, ItemAxes, item_field
from pipelines.request.labels import axis_title, column_texts
from pipelines.request.sheet import axis_fields


class Adapter(FrozenModel):
    """A toy item: a picture that prompts, as IP-adapters have it."""

    picture: str = "none"
    weight: Number = Field(1.0, ge=0.0, le=1.0, description="it must be a number from 0 to 1")


class ToyRequest(Request):
    """A Request with a third list field."""

    adapters: tuple[Adapter, ...] = ()


def put_adapter(before: Adapter | None, changes: Mapping[str, Any]) -> Adapter | None:
    return None if before is None else Adapter(**{**before.model_dump(), **changes})


ROW = ItemAxes(
    "adapter",
    Adapter,
    of="adapters",
    most=4,
    fields={"": "picture", "_weight": "weight"},
    put=put_adapter,
    noun="IP-adapter",
    labels={"picture": "IP-adapter", "weight": "IP-adapter weight"},
    none="none",
)
BASE = ToyRequest(adapters=(Adapter(picture="a"), Adapter(picture="b", weight=0.5)))


@pytest.fixture
def third_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_axes, "ITEM_AXES", (*ITEM_AXES, ROW))


@pytest.mark.usefixtures("third_row")
def test_a_third_list_field_is_one_row() -> None:
    assert [name for name in axis_fields() if "adapter" in name] == ["adapter", "adapter_weight"]
    assert (value_type("adapter2"), value_type("adapter4_weight")) == (str, float)
    axis = parse_axis("adapter2_weight=0-1 [3]")
    assert axis.values == (0.0, 0.5, 1.0)
    sheet = Sheet(base=BASE, axes=(Axis(field="adapter", values=("c", "none")), axis))
    cells = sheet.expand()
    found = [
        tuple((one.picture, one.weight) for one in cell.adapters)
        for cell in cells
        if isinstance(cell, ToyRequest)
    ]
    assert found == [
        (("c" if number < 3 else "none", 1.0), ("b", weight))
        for number, weight in enumerate([0.0, 0.5, 1.0] * 2)
    ]
    assert axis_title(axis) == "IP-adapter 2 weight"
    assert column_texts(sheet)[1] == "IP-adapter 2 weight 0.5"
    assert column_texts(Sheet(base=BASE, axes=sheet.axes[:1])) == ["IP-adapter c", "no IP-adapter"]


@pytest.mark.usefixtures("third_row")
def test_a_third_list_field_has_the_errors_of_the_others() -> None:
    with pytest.raises(UnknownName, match=r"adapter_wait.*did you mean 'adapter_weight'"):
        Axis(field="adapter_wait", values=(1,))
    with pytest.raises(UnknownName):
        Axis(field="adapter5", values=(1,))  # four at most
    axes = (Axis(field="adapter3_weight", values=(1.0,)),)
    with pytest.raises(InvalidRequest, match="changes IP-adapter 3, but there are 2 IP-adapters"):
        Sheet(base=BASE, axes=axes).expand()
    axes = (Axis(field="adapter_weight", values=(2.0,)),)
    with pytest.raises(InvalidRequest, match=r"weight is 2.0; it must be a number from 0 to 1"):
        Sheet(base=BASE, axes=axes).expand()


def test_without_the_row_there_is_no_such_axis() -> None:
    with pytest.raises(UnknownName):
        Axis(field="adapter_weight", values=(1.0,))


@pytest.mark.parametrize("row", ITEM_AXES, ids=lambda row: row.prefix)
def test_rows_name_fields_that_exist(row: ItemAxes[Any]) -> None:
    assert row.of in Request.model_fields
    assert set(row.fields.values()) == set(row.item.model_fields)
    assert set(row.labels) <= set(row.item.model_fields)
    assert set(row.shortened) <= set(row.item.model_fields)
    assert row.added_by is None or row.added_by in row.item.model_fields


@pytest.mark.parametrize("row", ITEM_AXES, ids=lambda row: row.prefix)
def test_every_number_up_to_the_most_is_an_axis(row: ItemAxes[Any]) -> None:
    for ending, name in row.fields.items():
        for number in range(1, row.most + 1):
            found = item_field(f"{row.prefix}{number if number > 1 else ''}{ending}")
            assert found is not None
            assert (found.row, found.number, found.name) == (row, number - 1, name)
        for wrong in (0, 1, row.most + 1, 12):
            assert item_field(f"{row.prefix}{wrong}{ending}") is None


def test_controls_and_loras_change_together() -> None:
    base = Request(controls=(Control(image="0" * 32),), loras=(LoRA(name="a"),))
    axis = parse_axis("control_strength=0.5,1 & lora=b,none & lora2=c,d:2 & steps=3,4")
    low, high = Sheet(base=base, axes=(axis,)).expand()
    assert [low.controls[0].strength, high.controls[0].strength] == [0.5, 1.0]
    assert low.loras == (LoRA(name="b"), LoRA(name="c"))
    assert high.loras == (LoRA(name="d", scale=2.0),)
    assert (low.steps, high.steps) == (3, 4)


def test_what_a_request_needs_is_told_by_the_request() -> None:
    net = {"image": "0" * 32, "model": "net"}
    request = Request(
        controls=(Control(**net), Control(image="1" * 32), Control(**net)),
        loras=(LoRA(name="a"), LoRA(name="off", scale=0.0), LoRA(name="a", scale=2.0)),
    )
    assert request.controlnets == ("net",)
    assert request.active_loras == (LoRA(name="a"), LoRA(name="a", scale=2.0))
    assert request.lora_names == ("a",)
