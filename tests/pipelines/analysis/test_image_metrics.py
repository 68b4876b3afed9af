"""The measures, against pictures whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipelines.analysis.image_metrics import (
    as_array,
    clipped,
    colourfulness,
    contrast,
    distance,
    measure_row,
)


def plain(*rgb: int) -> Image.Image:
    return Image.new("RGB", (8, 8), rgb)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    picture = Image.new("RGB", (8, 8), left)
    picture.paste(right, (4, 0, 8, 8))
    return picture


def test_colourfulness_follows_its_formula() -> None:
    assert colourfulness(as_array(plain(90, 90, 90))) == 0
    # Plain red: rg = 200, yb = 100, no spread.
    assert colourfulness(as_array(plain(200, 0, 0))) == pytest.approx(0.3 * np.hypot(200, 100))
    # Red and its opposite in halves: the means vanish, the spreads are 200 and 100.
    pixels = as_array(halves((200, 0, 0), (0, 200, 200)))
    assert colourfulness(pixels) == pytest.approx(np.hypot(200, 100))


def test_clipped_counts_channels_at_either_end() -> None:
    assert clipped(as_array(plain(128, 128, 128))) == 0
    assert clipped(as_array(plain(255, 128, 0))) == pytest.approx(2 / 3)
    assert clipped(as_array(halves((254, 1, 128), (253, 2, 128)))) == pytest.approx(1 / 3)


def test_white_and_black_are_no_clipped_colours() -> None:
    for ends in ((255, 255, 255), (0, 0, 0), (254, 255, 254)):
        assert clipped(as_array(halves(ends, (255, 128, 0)))) == pytest.approx(1 / 3)


def test_contrast_of_black_and_white_is_a_half() -> None:
    assert contrast(as_array(halves((0, 0, 0), (255, 255, 255)))) == pytest.approx(0.5)
    assert contrast(as_array(plain(10, 200, 30))) == pytest.approx(0)


def test_distance_is_a_share_of_the_whole_range() -> None:
    assert distance(as_array(plain(0, 0, 0)), as_array(plain(255, 255, 255))) == 1
    assert distance(as_array(plain(0, 0, 0)), as_array(plain(51, 0, 0))) == pytest.approx(0.2 / 3)
    with pytest.raises(ValueError, match="cannot be compared"):
        distance(np.zeros((2, 2, 3)), np.zeros((3, 2, 3)))


def test_a_row_compares_each_with_the_one_before() -> None:
    row = measure_row([plain(0, 0, 0), None, plain(255, 255, 255), plain(255, 255, 255)])
    assert row[1] is None
    assert [one.change for one in row if one] == [None, 1, 0]
