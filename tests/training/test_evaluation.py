"""The tables of the evaluation on a tiny model, and the plot of one."""

import pytest
import torch

from tests.helpers import tiny
from training.evaluation.plot import HEIGHT, LINE, PANEL, plot_table
from training.evaluation.samplers import convergence_table, distance


def test_distances_fall_with_steps_and_the_scheduler_stays() -> None:
    pipeline = tiny.sd()
    own = pipeline.scheduler
    rows = convergence_table(pipeline, 2.0, ["a dog"], (4, 24), reference_steps=120)
    assert pipeline.scheduler is own
    names = {(row["sampler"], row["schedule"]) for row in rows}
    assert {("ddim", "default"), ("ddim", "sgm_uniform"), ("dpmpp_2s", "default")} <= names
    assert not {"ddpm", "euler_a", "lcm", "tcd", "flow_euler"} & {name for name, _ in names}
    ddim = next(row for row in rows if row["sampler"] == "ddim")
    assert 0 < ddim["steps_24"] < 0.5 * ddim["steps_4"]


def test_the_distance_is_relative() -> None:
    reference = torch.ones(2, 4, 8, 8)
    assert distance(reference, reference) == 0
    assert distance(reference * 1.5, reference) == pytest.approx(0.5)


def test_a_plot_has_a_panel_a_column_and_its_curve() -> None:
    table = [{"guidance": g, "up": g, "down": -g} for g in (1.0, 5.0, 15.0)]
    picture = plot_table(table, "guidance")
    assert picture.size == (2 * PANEL, HEIGHT)

    def height_of_curve(x: int) -> float:
        found = [y for y in range(HEIGHT) if picture.getpixel((x, y)) == LINE]
        return sum(found) / len(found)

    left, right = 60, PANEL - 30
    assert height_of_curve(left) > height_of_curve(right), "rising: y counts from the top"
    assert height_of_curve(PANEL + left) < height_of_curve(PANEL + right)
    with pytest.raises(ValueError, match="two rows"):
        plot_table(table[:1], "guidance")
