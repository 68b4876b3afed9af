"""How far a picture follows its map."""

import numpy as np
import pytest

from training.judges.control_scores import edge_f1, joints_near, overlaps, rank_correlation


def lines(*columns: int) -> np.ndarray:
    """White vertical lines on black, 16 × 16."""
    picture = np.zeros((16, 16), np.uint8)
    picture[:, list(columns)] = 255
    return picture


def test_edges_agree_with_themselves_and_with_their_neighbours() -> None:
    assert edge_f1(lines(5), lines(5)) == 1
    assert edge_f1(lines(6), lines(5)) == 1
    assert edge_f1(lines(8), lines(5)) == 0


def test_a_missing_line_costs_recall_and_a_further_one_precision() -> None:
    assert edge_f1(lines(3), lines(3, 12)) == pytest.approx(2 / 3)
    assert edge_f1(lines(3, 12), lines(3)) == pytest.approx(2 / 3)


def test_no_edges_agree_only_with_none() -> None:
    assert edge_f1(lines(), lines()) == 1
    assert edge_f1(lines(), lines(3)) == 0


def test_joints_within_six_pixels_are_found_and_hidden_ones_not_asked() -> None:
    asked = np.zeros((1, 18, 3), np.float32)
    asked[0, :2, 2] = 1
    found = np.zeros((1, 18, 2), np.float32)
    found[0, 0], found[0, 1] = (6, 0), (6, 1)
    near = joints_near(found, asked)[0]
    assert near[:2].tolist() == [1, 0]
    assert np.isnan(near[2:]).all()


def test_ranks_of_any_rising_function_agree() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert rank_correlation(values**3, values) == pytest.approx(1)
    assert rank_correlation(-values, values) == pytest.approx(-1)
    assert rank_correlation(np.ones_like(values), values) == 0


def test_overlap_of_each_class() -> None:
    asked = np.array([[[0, 0, 1, 1]]], np.uint8)
    found = np.array([[[0, 1, 1, 1]]], np.uint8)
    assert overlaps(found, asked, 3)[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(overlaps(found, asked, 3)[2])
