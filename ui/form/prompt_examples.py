"""Prompt examples below the buttons: a click fills the prompt and starts the tab's run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from presets import model_preset
from ui.events import DIRECT, RAW
from ui.form.settings_form import SettingsForm


class PromptExamples:
    """Example prompts of the form's model; built in the layout that is open."""

    def __init__(self, model: str) -> None:
        samples = example_samples(model)
        self.menu = gr.Dataset(
            label="Examples",
            components=[gr.Textbox(visible=False)],
            samples=samples,
            visible=bool(samples),
            type="values",
            elem_classes="cs-examples",
        )

    def connect(self, form: SettingsForm, run_now: Mapping[str, Any]) -> None:
        """Wire it. `run_now`: arguments of the event that starts a run."""
        self.menu.click(lambda sample: sample[0], self.menu, form["prompt"], **DIRECT).then(
            **run_now
        )
        form["model"].input(
            lambda model: gr.Dataset(
                samples=example_samples(model), visible=bool(example_samples(model))
            ),
            form["model"],
            self.menu,
            **RAW,
        )


def example_samples(model: str) -> list[list[str]]:
    """List the preset's example prompts, one a row."""
    return [[prompt] for prompt in model_preset(model).examples]
