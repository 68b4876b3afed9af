"""The text-to-image tab: a prompt becomes one or several pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import Sheet
from presets import model_preset
from ui.run_tab import DIRECT, RunTab


class TextToImage(RunTab):
    """One Request; several pictures differ in their seeds."""

    id = "text-to-image"
    empty = "No picture yet. Type a prompt and press Generate (or Ctrl+Enter), or pick an example."

    forecasts = False
    sends = False

    def add_examples(self) -> None:
        samples = example_samples(self.first_model())
        self.examples = gr.Dataset(
            label="Examples",
            components=[gr.Textbox(visible=False)],
            samples=samples,
            visible=bool(samples),
            type="values",
            elem_classes="cs-examples",
        )

    def connect(self, run_now: Mapping[str, Any]) -> None:
        self.examples.click(
            lambda sample: sample[0], self.examples, self.form["prompt"], **DIRECT
        ).then(**run_now)
        self.form["model"].input(
            lambda model: gr.Dataset(
                samples=example_samples(model), visible=bool(example_samples(model))
            ),
            self.form["model"],
            self.examples,
            preprocess=False,
            **DIRECT,
        )

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        request, count = self.form.read(fields)
        return Sheet.seeds(request, count)


def example_samples(model: str) -> list[list[str]]:
    """The preset's example prompts, one a row."""
    return [[prompt] for prompt in model_preset(model).examples]
