"""What the buttons of a tab show before, at and after the start of a run."""

from __future__ import annotations

import gradio as gr
import pytest

from pipelines.rendering.run_plan import CostEstimate
from ui.events import Update
from ui.tabs.run_buttons import RunButtons, build_run_buttons, cost_line

LARGE = CostEstimate(101, 1, 4500, 75.0)


@pytest.fixture
def buttons() -> RunButtons:
    with gr.Blocks():
        return build_run_buttons("tab")


def states(buttons: RunButtons) -> dict[str, Update]:
    return {
        "checking": buttons.checking(),
        "asking": buttons.asking({"seed": 1}, LARGE),
        "dismissed": buttons.dismissed(),
        "refused": buttons.refused("steps is 0"),
        "started": buttons.started(),
        "running": buttons.running(True),
        "ended": buttons.running(False),
    }


def test_states_change_nothing_but_the_outputs(buttons: RunButtons) -> None:
    for name, update in states(buttons).items():
        assert update.keys() <= set(buttons.outputs), name


@pytest.mark.parametrize(
    ("state", "generate", "stop"),
    [
        ("checking", False, None),
        ("asking", True, None),
        ("dismissed", True, None),
        ("refused", True, None),
        ("started", None, True),
        ("running", False, True),
        ("ended", True, False),
    ],
)
def test_what_can_be_pressed(
    buttons: RunButtons, state: str, generate: bool | None, stop: bool | None
) -> None:
    update = states(buttons)[state]
    for button, wanted in ((buttons.generate, generate), (buttons.stop, stop)):
        assert (update[button].interactive if button in update else None) is wanted


def test_a_question_keeps_what_it_is_about_until_it_is_answered(buttons: RunButtons) -> None:
    fields = {"seed": 1}
    asking = buttons.asking(fields, LARGE)
    fields["seed"] = 2
    assert asking[buttons.waiting] == {"seed": 1}
    assert asking[buttons.confirm].visible
    assert f"large run: {cost_line(LARGE)}. Make it?" in asking[buttons.question]
    for answered in (buttons.dismissed(), buttons.checking()):
        assert answered[buttons.waiting] is None and not answered[buttons.confirm].visible


def test_a_problem_stays_until_the_next_try(buttons: RunButtons) -> None:
    problem = buttons.refused("steps is 0")[buttons.problem]
    assert problem.visible and "steps is 0" in problem.value
    assert buttons.problem not in buttons.dismissed()
    for name in ("asking", "started"):
        assert not states(buttons)[name][buttons.problem].visible


def test_a_forecast_is_shown_where_there_is_one(buttons: RunButtons) -> None:
    assert not buttons.forecast_of(None).visible
    shown = buttons.forecast_of(LARGE)
    assert shown.visible and cost_line(LARGE) in shown.value


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        (CostEstimate(1, 0, 40, None), "1 cell · up to 40 denoiser rows"),
        (
            CostEstimate(12, 3, 4500, 9.0),
            "12 cells, 3 made before · up to 4,500 denoiser rows · about 9.0 s",
        ),
        (CostEstimate(12, 12, 0, 0.0), "12 cells, all made before"),
    ],
)
def test_a_cost_in_words(cost: CostEstimate, line: str) -> None:
    assert cost_line(cost) == line
