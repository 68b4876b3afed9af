"""Text-to-image tab: a prompt becomes one or several pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import Sheet
from ui.form.prompt_examples import PromptExamples
from ui.tabs.run_tab import RunTab


class TextToImage(RunTab):
    """Text-to-image tab: one Request; several pictures differ in their seeds."""

    id = "text-to-image"
    empty = "No picture yet. Type a prompt and press Generate (or Ctrl+Enter), or pick an example."

    forecasts = False
    sends = False

    def add_examples(self) -> None:
        self.examples = PromptExamples(self.first_model())

    def connect(self, run_now: Mapping[str, Any]) -> None:
        self.examples.connect(self.form, run_now)

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        request, count = self.form.read(fields)
        return Sheet.seeds(request, count)
