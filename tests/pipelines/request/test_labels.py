"""Labels of fields, from one table, as headers show them."""

from __future__ import annotations

import pytest

from pipelines import Axis, Request
from pipelines.request.field_labels import FIELD_LABELS, PSEUDO_FIELD_LABELS
from pipelines.request.labels import axis_title
from pipelines.request.sheet import PSEUDO_FIELDS, axis_fields


def test_every_field_has_a_row() -> None:
    assert set(FIELD_LABELS) == set(Request.model_fields)
    assert set(PSEUDO_FIELD_LABELS) == set(PSEUDO_FIELDS)


def test_every_axis_has_a_title_of_its_own() -> None:
    titles = {name: axis_title(Axis(field=name, values=(1,))) for name in axis_fields()}
    assert not [name for name, title in titles.items() if "_" in title]
    twice = sorted(n for n, t in titles.items() if list(titles.values()).count(t) > 1)
    # Both set the prompt.
    assert twice == ["prompt", "prompt_replace"]


@pytest.mark.parametrize(
    ("axis", "title"),
    [
        ("control_model", "control"), ("control2_model", "control 2"),
        ("control3_start", "control 3 from"), ("control8_strength", "control 8 strength"),
        ("lora", "LoRA"), ("lora2", "LoRA 2"), ("lora4_scale", "LoRA 4 scale"),
    ],
)  # fmt: skip
def test_a_second_item_says_so(axis: str, title: str) -> None:
    assert axis_title(Axis(field=axis, values=(1,))) == title
