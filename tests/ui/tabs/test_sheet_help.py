"""The help of the sheet tab, which reads its fields where axes are checked."""

from __future__ import annotations

import re

from pipelines import Request
from pipelines.request.sheet import PSEUDO_FIELDS, check_field
from ui.tabs.sheet import help_text


def named() -> list[str]:
    (line,) = (one for one in help_text().splitlines() if one.startswith("Fields: "))
    without_notes = re.sub(r"\([^)]*\)", "", line)
    return re.findall(r"`([a-z0-9_]+)`", without_notes)


def test_it_names_every_field_that_can_be_an_axis_of_the_form() -> None:
    fields = set(Request.model_fields) - {"controls", "loras"}
    assert set(named()) == {
        *fields, *PSEUDO_FIELDS, "lora", "lora_scale", "lora_text_scale", "lora2", "lora2_scale",
        "lora2_text_scale",
    }  # fmt: skip
    assert len(named()) == len(set(named()))


def test_what_it_names_can_be_an_axis() -> None:
    for name in named():
        check_field(name)
