"""Samplers tab: samplers and schedules against steps or against evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines import Axis, InvalidRequest, Sheet
from pipelines.families.capabilities import Capabilities
from pipelines.request.axis_grammar import parse_values
from pipelines.request.sheet import EVALUATIONS
from pipelines.samplers import SAMPLERS, SCHEDULES
from ui.events import RAW
from ui.form.choices import sampler_choices, schedule_name, supports_of
from ui.form.fields import Parts
from ui.form.prompt_examples import PromptExamples
from ui.reports.convergence import Convergence
from ui.reports.filmstrip import Filmstrip
from ui.tabs.run_tab import RunTab

FIRST_SAMPLERS = ("ddim", "euler", "heun", "dpmpp_2m", "unipc", "euler_a")
"""Chosen at first, where they fit the model."""
EQUAL = [("Steps", "steps"), ("Evaluations", EVALUATIONS)]


class SamplerComparison(RunTab):
    """Sampler comparison: samplers and schedules along the rows, budgets along the columns."""

    id = "samplers"
    empty = (
        "No comparison yet. Type a prompt and press Generate, or pick an example: all samplers "
        "start from the same noise and are denoised together."
    )

    replaced = ("sampler", "schedule", "steps", "count")

    def add_own_inputs(self) -> Parts:
        supports = supports_of(self.studio, self.first_model())
        samplers = gr.Dropdown(
            sampler_choices(supports),
            value=first_samplers(supports),
            multiselect=True,
            label="Samplers",
            info="One row each",
        )
        schedules = gr.Dropdown(
            [(schedule_name(id), id) for id in SCHEDULES],
            value=["default"],
            multiselect=True,
            label="Schedules",
            info="A sampler that lacks one leaves it out",
        )
        equal = gr.Radio(
            EQUAL,
            value="steps",
            label="Compare at equal",
            info="Heun and DPM2 evaluate twice a step",
        )
        budgets = gr.Textbox("5, 10, 20", label="How many", info="One column each")
        return {"samplers": samplers, "schedules": schedules, "equal": equal, "budgets": budgets}

    def add_examples(self) -> None:
        self.examples = PromptExamples(self.first_model())

    def connect(self, run_now: Mapping[str, Any]) -> None:
        self.examples.connect(self.form, run_now)
        self.form["model"].input(
            self._samplers_of, self.form["model"], self.form["samplers"],
            **RAW,
        )  # fmt: skip

    def _samplers_of(self, model: str) -> Any:
        supports = supports_of(self.studio, model)
        return gr.Dropdown(sampler_choices(supports), value=first_samplers(supports))

    def add_below_run(self) -> None:
        Convergence(self.studio, self.id, self.view)
        Filmstrip(self.studio, self.id, self.view)

    def sheet(self, fields: Mapping[str, Any]) -> Sheet:
        base, _ = self.form.read({**fields, "schedule": "default"})
        pairs = sampler_schedules(fields["samplers"] or [], fields["schedules"] or [])
        budget = str(fields["equal"])
        if budget not in dict(EQUAL).values():
            raise InvalidRequest(f"samplers cannot be compared at equal {budget!r}")
        rows = Axis(
            field="sampler",
            values=tuple(sampler for sampler, _ in pairs),
            zipped=(Axis(field="schedule", values=tuple(schedule for _, schedule in pairs)),),
        )
        columns = Axis(field=budget, values=parse_values(budget, str(fields["budgets"])))
        return Sheet(base=base, axes=(rows, columns))


def first_samplers(supports: Capabilities | None) -> list[str]:
    """Choose the samplers compared at first: the usual, or all where a model takes none."""
    if supports is None:
        return list(FIRST_SAMPLERS)
    return [id for id in FIRST_SAMPLERS if id in supports.samplers] or list(supports.samplers)


def sampler_schedules(chosen: list[str], schedules: list[str]) -> list[tuple[str, str]]:
    """Pair every chosen sampler with every chosen schedule that it has.

    Raises: InvalidRequest: if nothing is left to compare.
    """
    unknown = [name for name in (*chosen, *schedules) if name not in {**SAMPLERS, **SCHEDULES}]
    if unknown:
        raise InvalidRequest(f"there is no sampler or schedule {unknown[0]!r}")
    if not chosen:
        raise InvalidRequest("no sampler is chosen; choose one or more")
    pairs = [(s, k) for s in chosen for k in schedules if k in SAMPLERS[s].schedules]
    if not pairs:
        raise InvalidRequest(
            "none of these samplers has one of these schedules; choose Default as well"
        )
    return pairs
