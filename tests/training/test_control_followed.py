"""Unseen maps, the figures of real and of wrong pictures, the depth of figures, the sheets."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.runs.contact_sheet import GAP
from training.data import conditions
from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings
from training.data.outlines import PARTS
from training.data.relief import layers, relief
from training.evaluation.control_asks import (
    LEAST_EDGES,
    drawing_asks,
    figure_ask,
    scene_edges_ask,
    solids_ask,
)
from training.evaluation.control_followed import edges_followed
from training.evaluation.control_sheets import LEFT, Row, labelled
from training.evaluation.controls import named, show_and_keep
from training.judges.control_scores import lines_found, rank_correlation


def drawings() -> tuple[list[Concept], Drawings]:
    """Twelve discs and squares, alone to be told apart by their size."""
    y, x = np.mgrid[:128, :128] - 63.5
    keys, pixels, concepts = [], [], []
    for number in range(12):
        code, size = f"{number:X}", 20 + 3 * number
        inside = (np.hypot(x, y) if number % 2 else np.maximum(abs(x), abs(y))) < size
        rgba = np.zeros((128, 128, 4), np.uint8)
        rgba[inside] = (200, 30 + number, 40, 255)
        keys += [(code, style) for style in STYLES]
        pixels += [rgba] * len(STYLES)
        concepts.append(Concept(code, f"thing {number}", (), (), ()))
    return concepts, Drawings(np.stack(pixels), keys, {})


def test_edges_are_learnt_from_moved_drawings_and_scenes_but_not_from_what_is_held_out() -> None:
    concepts, drawn = drawings()
    make = conditions.edge_maker("canny", drawn, concepts)
    rng = np.random.default_rng(0)
    made = [make(rng) for _ in range(80)]
    numbers = [re.search(r"thing (\d+)", sample.caption) for sample, _ in made]
    shown = {int(found[1]) for found in numbers if found}
    assert shown == {row for row in range(len(concepts)) if row % conditions.HELD_OUT}
    assert 8 < numbers.count(None) < 35, "about a quarter are scenes"
    centres = {
        tuple(np.argwhere(map[..., 0]).mean(0).round().tolist())
        for (_, map), number in zip(made, numbers, strict=True)
        if number and map.any()
    }
    assert len(centres) > 20, "things lie in different places"
    for sample, map in made[:8]:
        assert np.array_equal(map, conditions.edges(sample.pixels, "canny"))


def test_drawings_are_those_kept_back_and_every_second_is_moved() -> None:
    concepts, all_drawings = drawings()
    asks = drawing_asks("canny", concepts, all_drawings, 8, np.random.default_rng(0))
    assert [ask.moved for ask in asks] == [False, True] * 4
    for ask in asks:
        assert ask.drawing is not None
        assert ask.drawing.concept % conditions.HELD_OUT == 0
        assert ask.map.shape == (128, 128, 3)
        assert np.count_nonzero(ask.map[..., 0]) >= LEAST_EDGES
        assert concepts[ask.drawing.concept].label in ask.caption


def test_edges_of_the_real_pictures_agree_and_of_others_do_not() -> None:
    rng = np.random.default_rng(1)
    asks = [scene_edges_ask("canny", row, rng) for row in range(4)]
    real = np.stack([ask.pixels for ask in asks])
    right = edges_followed("canny", real, asks)
    wrong = edges_followed("canny", real, asks[1:] + asks[:1])
    assert right["edge_f1"] == right["edge_f1_scenes"] == right["lines_found"] == 1
    assert wrong["edge_f1"] < 0.4
    assert "edge_f1_moved" not in right


def test_lines_beside_edges_are_found_whatever_else_is_there() -> None:
    asked, found = np.zeros((2, 16, 16), np.uint8)
    asked[:, 4] = 255
    found[:, [5, 12]] = 255
    assert lines_found(found, asked) == 1
    assert lines_found(np.zeros_like(found), asked) == 0
    assert lines_found(found, np.zeros_like(asked)) == 1


def test_solids_asked_by_depth_and_by_segments_hold_what_they_say() -> None:
    rng = np.random.default_rng(2)
    for kind in ("depth", "seg"):
        ask = solids_ask(kind, rng)
        assert ask.label is not None
        assert 1 <= sum(ask.label.things.values()) <= 2
        kinds = ask.exact["kinds"]
        grey = ask.map.max(2)
        if kind == "depth":
            assert rank_correlation(grey, ask.exact["depth"]) > 0.99
        else:
            assert ((grey > 0) == (kinds > 0)).all()
        assert len(np.unique(kinds)) - 1 == len({k for _, k in ask.label.things})


def test_a_figure_stands_on_the_floor_before_the_wall() -> None:
    ask = figure_ask(np.random.default_rng(3))
    parts = ask.exact["parts"]
    depth = relief(parts, ask.front)
    there = parts > 0
    feet = np.flatnonzero(there.any(1)).max()
    assert depth[there].min() > depth[:20][~there[:20]].max(), "nearer than the wall behind"
    assert depth[-1].min() > depth[feet][there[feet]].max(), "the floor before it is nearer"


def test_near_limbs_lie_before_the_torso_and_far_ones_behind() -> None:
    rows = {name: np.full((2, 2), PARTS.index(name), np.uint8) for name in PARTS}
    side = {name: layers(row, front=False).max() for name, row in rows.items()}
    assert side["nothing"] == 0 < side["b arm"] < side["torso"] < side["a arm"]
    front = {name: layers(row, front=True).max() for name, row in rows.items()}
    assert front["a arm"] == front["b arm"] < front["torso"] == front["a leg"]


def test_a_sheet_has_its_pictures_in_rows() -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    page = labelled([Row("a", [red, blue]), Row("b", [blue, red])])
    assert page.getpixel((LEFT + 2, 2)) == (255, 0, 0)
    assert page.getpixel((LEFT + 16 + GAP + 2, 16 + GAP + 2)) == (255, 0, 0)
    assert page.getpixel((LEFT + 2, 16 + GAP + 2)) == (0, 0, 255)
    with pytest.raises(ValueError, match="equal"):
        labelled([Row("a", [red]), Row("b", [red, red])])


def test_figures_are_printed_and_kept_as_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "evaluation.json"

    def found() -> Iterator[dict[str, Any]]:
        yield named({"joints": 0.5}, "real")
        assert json.loads(target.read_text()) == {"joints_real": 0.5}
        yield {"maps": 3}

    show_and_keep(found(), "pose", target)
    assert json.loads(target.read_text()) == {"joints_real": 0.5, "maps": 3}
    assert "joints_real" in capsys.readouterr().out
