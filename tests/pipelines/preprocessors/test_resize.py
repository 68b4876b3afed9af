"""Where a picture lies in a map of another shape, for any two shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines import preprocessors
from pipelines.preprocessors.resize import place, put, resample, working_size

sides = st.integers(1, 400)
sizes = st.tuples(sides, sides)


@given(sizes, sizes)
def test_crop_keeps_the_shape_and_cuts_equal_margins(picture, result):
    found = place(picture, result, "crop")
    left, upper, right, lower = found.source
    assert found.corner == (0, 0) and found.size == result
    assert left == pytest.approx(picture[0] - right) and upper == pytest.approx(picture[1] - lower)
    assert min(left, upper) == pytest.approx(0, abs=1e-9) and left >= 0 and upper >= 0
    assert (right - left) * result[1] == pytest.approx((lower - upper) * result[0], rel=1e-9)


@given(sizes, sizes)
def test_pad_shows_everything_and_fills_one_side(picture, result):
    found = place(picture, result, "pad")
    assert found.source == (0, 0, *picture)
    assert result[0] == found.size[0] or result[1] == found.size[1]
    for corner, size, side in zip(found.corner, found.size, result, strict=True):
        assert corner >= 0 and corner + size <= side
        assert abs(corner - (side - size - corner)) <= 1, "margins are equal within a pixel"
    scale = min(r / p for r, p in zip(result, picture, strict=True))
    assert all(abs(s - max(1, p * scale)) <= 0.5 for s, p in zip(found.size, picture, strict=True))


@given(sizes, sizes)
def test_stretch_takes_all_to_all(picture, result):
    found = place(picture, result, "stretch")
    assert (found.source, found.corner, found.size) == ((0, 0, *picture), (0, 0), result)


@given(sizes, st.integers(64, 512))
def test_the_working_size_has_the_shape_of_the_content(content, resolution):
    assert working_size(content, 0) == content
    width, height = working_size(content, resolution)
    assert min(width, height) == resolution and max(width, height) <= 4 * resolution
    if max(content) <= 4 * min(content):
        assert abs(width * content[1] - height * content[0]) <= max(content)


@settings(max_examples=40, deadline=None)
@given(
    sizes,
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from(["crop", "pad", "stretch"]),
    st.sampled_from(["none", "canny", "scribble", "lineart", "color", "tile", "shuffle"]),
    st.sampled_from([0, 64, 100]),
)
def test_a_map_has_exactly_the_size_that_was_asked(picture, size, resize, name, resolution):
    parameters = {"resize": resize} | ({} if name == "none" else {"resolution": resolution})
    source = Image.radial_gradient("L").resize(picture)
    made = preprocessors.run(name, source, parameters, size)
    assert (made.size, made.mode) == (size, "RGB")


def test_none_changes_nothing_of_a_map_that_fits():
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for resize in ("crop", "pad", "stretch"):
        made = preprocessors.run("none", Image.fromarray(noise), {"resize": resize}, (64, 48))
        assert np.array_equal(made, noise)


def test_modes_on_a_picture_that_shows_which_is_which():
    """Red, green, blue thirds of a wide picture, in a square."""
    wide = Image.new("RGB", (90, 30), (0, 255, 0))
    wide.paste((255, 0, 0), (0, 0, 30, 30))
    wide.paste((0, 0, 255), (60, 0, 90, 30))
    crop, pad, stretch = (
        np.asarray(preprocessors.run("none", wide, {"resize": mode}, (30, 30))).astype(int)
        for mode in ("crop", "pad", "stretch")
    )
    assert (abs(crop - (0, 255, 0)) <= 1).all()
    assert (pad[:10] == 0).all() and (pad[20:] == 0).all(), "above and below there is nothing"
    assert (pad[15, 4] == (255, 0, 0)).all() and (pad[15, 25] == (0, 0, 255)).all()
    assert (stretch[:, 4] == (255, 0, 0)).all() and (stretch[:, 25] == (0, 0, 255)).all()


def test_padding_has_no_edges_of_its_own():
    white = Image.new("RGB", (64, 32), "white")
    for name in ("canny", "scribble", "lineart"):
        made = preprocessors.run(name, white, {"resize": "pad"}, (64, 64))
        assert not np.asarray(made).any(), name


def test_labels_are_not_mixed():
    two = Image.new("RGB", (4, 4), (255, 0, 0))
    two.paste((0, 0, 255), (2, 0, 4, 4))
    colours = {tuple(c) for c in np.asarray(resample(two, (7, 7), blends=False)).reshape(-1, 3)}
    assert colours == {(255, 0, 0), (0, 0, 255)}
    placed = put(two, place((4, 4), (8, 4), "pad"), (8, 4), (1, 2, 3))
    assert placed.getpixel((0, 0)) == (1, 2, 3) and placed.getpixel((2, 0)) == (255, 0, 0)
