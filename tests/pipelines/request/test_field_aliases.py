"""Names of other tools, random and long seeds, and rounded ranges."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from pipelines import Axis, InvalidRequest, Request, Sheet
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.png_metadata import png_info, read_request


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("cfg", "guidance_scale", 3.0),
        ("cfg_scale", "guidance_scale", -2.5),
        ("scheduler", "schedule", "karras"),
        ("clip_skip", "clip_skip", 2),
        ("sampler_name", "sampler", "euler"),
        ("num_inference_steps", "steps", 7),
    ],
)
def test_other_tools_names_are_known(name: str, field: str, value: object) -> None:
    assert getattr(Request(**{name: value}), field) == value
    assert getattr(Request().replace(**{name: value}), field) == value
    axis = parse_axis(f"{name.replace('_', ' ').title()}={value}, {value}")
    assert (axis.field, axis.values) == (field, (value, value))
    assert Axis(field=name, values=(value,)).field == field


def test_one_setting_under_two_names_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="cfg and guidance_scale are the same setting"):
        Request(cfg=3, guidance_scale=4)
    with pytest.raises(InvalidRequest, match="'guidance_scale' is given twice"):
        Sheet(axes=(parse_axis("cfg=1,2"), parse_axis("guidance_scale=1,2")))


@pytest.mark.parametrize("seed", [2**32, 2**53 + 1, 2**63 - 1])
def test_long_seeds_survive_json_and_png(seed: int) -> None:
    request = Request(seed=seed, guidance_scale=-7.5, clip_skip=1)
    assert Request.from_json(request.to_json()) == request
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=png_info(request))
    assert read_request(Image.open(buffer)) == request
    assert parse_axis(f"seed={seed}").values == (seed,)


def test_a_random_seed_is_drawn_once_for_the_base_and_for_each_value() -> None:
    base = Request(seed=-1)
    drawn = Sheet(base=base, axes=(parse_axis("guidance_scale=-1, 1"),)).with_seeds()
    one, other = (cell.seed for cell in drawn.expand())
    assert one == other == drawn.base.seed >= 0
    assert drawn.with_seeds() is drawn
    drawn = Sheet(base=base, axes=(parse_axis("seed=-1,-1,5 & steps=1,2,3"),)).with_seeds()
    seeds = [cell.seed for cell in drawn.expand()]
    assert seeds[2] == 5 and len(set(seeds)) == 3 and min(seeds) >= 0
    assert len({Request(seed=-1).with_seed().seed for _ in range(20)}) == 20
    row = [cell.seed for cell in Sheet.seeds(base, 3).expand()]
    assert row == [row[0], row[0] + 1, row[0] + 2] and row[0] >= 0


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("steps=1-10 [5]", (1, 3, 6, 8, 10)),
        ("steps=10-1 [4]", (10, 7, 4, 1)),
        ("seed=0-9 [3]", (0, 5, 9)),
        ("cfg=1-10 [5]", (1.0, 3.25, 5.5, 7.75, 10.0)),
    ],
)
def test_spaced_values_of_whole_numbers_are_rounded(text: str, values: tuple[float, ...]) -> None:
    assert parse_axis(text).values == values
