"""The guidance tab: one prompt at many guidance scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import Axis, Sheet
from pipelines.analysis.clip_score import find_scorer
from pipelines.request.axis_grammar import parse_values
from pipelines.request.field_labels import FIELD_LABELS
from ui.errors import shown
from ui.events import DIRECT
from ui.form.prompt_examples import PromptExamples
from ui.reports.guidance_charts import GuidanceCurves
from ui.tabs.run_tab import RunTab

NOTHING = "nothing"
ACROSS = {
    "seed": "1-4",
    "prompt": "a red apple, a cat face",
    "sampler": "ddim, euler_a, dpmpp_2m",
    "guidance_rescale": "0, 0.35, 0.7",
    "guidance_stop": "0.4, 0.7, 1",
}
"""Field of a second axis to the values that stand there first."""


class GuidanceSweep(RunTab):
    """Guidance scales along the columns, a second field along the rows if wanted."""

    id = "guidance"
    empty = (
        "No sweep yet. Low guidance wanders from the prompt, high guidance burns the colours. "
        "Type a prompt and press Generate, or pick an example, to see where it is best."
    )

    replaced = ("guidance_scale", "count")

    def add_own_inputs(self) -> None:
        parts = self.form.parts
        parts["scales"] = gr.Textbox(
            "1, 2, 3, 4, 5, 7, 10, 15",
            label="Guidance scales",
            info="A list, or a range such as 1-15 [8]",
            lines=1,
        )
        with gr.Row():
            parts["across"] = gr.Dropdown(
                [("Nothing", NOTHING), *((_plural(field), field) for field in ACROSS)],
                value=NOTHING,
                label="Against",
                info="A second axis, for the rows",
                min_width=130,
            )
            parts["across_values"] = gr.Textbox(
                "", label="Values", info="For the rows", lines=1, visible=False, min_width=130
            )

    def add_examples(self) -> None:
        self.examples = PromptExamples(self.first_model())

    def add_below_run(self) -> None:
        self.curves = GuidanceCurves()

    def connect(self, run_now: Mapping[str, Any]) -> None:
        self.examples.connect(self.form, run_now)
        self.view.run_state(self._draw_curves, self.view, self.curves.output, **DIRECT)
        self.form["across"].input(
            across_values, self.form["across"], self.form["across_values"],
            preprocess=False, **DIRECT,
        )  # fmt: skip

    def _draw_curves(self, run_id: str) -> str:
        run = self.studio.find(run_id) if run_id else None
        with shown():
            scorer = find_scorer(self.studio.manager.library.folders)
            return self.curves.update(None if run is None else run.snapshot(), scorer)

    def restore(self, kept: Any) -> dict[Any, Any]:
        updates = super().restore(kept)
        across, values = self.form["across"], self.form["across_values"]
        if updates.get(across, NOTHING) != NOTHING:
            updates[values] = gr.Textbox(updates[values], visible=True)
        return updates

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        base, _ = self.form.read(fields)
        axes = [_axis("guidance_scale", fields["scales"])]
        if fields["across"] != NOTHING:
            axes.insert(0, _axis(str(fields["across"]), fields["across_values"]))
        return Sheet(base=base, axes=tuple(axes))


def across_values(field: str) -> Any:
    """The box for the second axis' values, with an example in it."""
    shown = field in ACROSS
    return gr.Textbox(ACROSS[field] if shown else "", visible=shown)


def _plural(field: str) -> str:
    return FIELD_LABELS[field].plural or FIELD_LABELS[field].label


def _axis(field: str, text: Any) -> Axis:
    return Axis(field=field, values=parse_values(field, str(text)))
