"""The page, the command line and endpoints read the one table of fields' labels."""

from __future__ import annotations

import inspect
from typing import get_type_hints

from pipelines.request.field_labels import FIELD_LABELS
from ui.api.parameters import Made, with_settings
from ui.cli.options import Settings
from ui.tabs.guidance import ACROSS


def test_options_say_what_the_table_says() -> None:
    hints = get_type_hints(Settings, include_extras=True)
    spelled = {"control": "controls", "lora": "loras"}
    said = {
        spelled.get(name, name): annotation.__metadata__[0].help
        for name, annotation in hints.items()
        if spelled.get(name, name) in FIELD_LABELS
    }
    assert said == {name: FIELD_LABELS[name].help for name in said}
    assert set(said) == {name for name, row in FIELD_LABELS.items() if row.help}


def test_the_page_has_a_label_for_every_field() -> None:
    assert all(row.label and row.short for row in FIELD_LABELS.values())
    assert all(FIELD_LABELS[field].plural or FIELD_LABELS[field].label for field in ACROSS)


def test_the_parameters_of_endpoints_are_unchanged() -> None:
    """Programs call by position too: the order, types and defaults are a contract."""

    @with_settings(without=("steps",))
    async def endpoint(fields: dict[str, object], prompt: str = "") -> Made:
        raise NotImplementedError

    assert [str(one) for one in inspect.signature(endpoint).parameters.values()] == [
        "prompt: str = ''", "negative_prompt: str = ''", "model: str = 'emoji'",
        "sampler: str | None = None", "schedule: str | None = None",
        "guidance_scale: float | None = None", "guidance_rescale: float = 0.0",
        "guidance_start: float = 0.0", "guidance_stop: float = 1.0",
        "distilled_guidance: float | None = None", "skip_layers: str | None = None",
        "skip_layer_scale: float | None = None", "skip_layer_start: float | None = None",
        "skip_layer_stop: float | None = None", "seed: int = 0", "width: int | None = None",
        "height: int | None = None", "loras: list[str] | None = None", "guider: str = ''",
        "as_diffusers: bool = False",
        "clip_skip: int = 0",
    ]  # fmt: skip
