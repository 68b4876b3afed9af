"""Preprocessors that need no weights, on real photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines import preprocessors
from tests.pipelines.preprocessors.photographs import NAMES, photograph


def drawn(name, picture, size=None, **parameters):
    """One channel of the map, 0..255, of a map that is grey throughout."""
    made = np.asarray(preprocessors.run(name, picture, parameters, size or picture.size))
    assert (made == made[..., :1]).all()
    return made[..., 0].astype(int)


def gradient_of(picture):
    """How fast brightness changes, by central differences of a smoothed picture."""
    grey = cv2.GaussianBlur(np.asarray(picture.convert("L"), np.float64), (0, 0), 1)
    return np.hypot(*np.gradient(grey))


@pytest.mark.parametrize("name", NAMES)
def test_canny_is_where_brightness_changes(name):
    picture = photograph(name)
    edges = drawn("canny", picture) > 0
    change = gradient_of(picture)
    assert set(np.unique(drawn("canny", picture))) == {0, 255}
    assert 0.005 < edges.mean() < 0.3
    assert change[edges].mean() > 2.5 * change[~edges].mean()
    elsewhere = np.roll(edges, (9, 9), (0, 1))
    assert change[edges].mean() > 1.7 * change[elsewhere].mean(), "there, not just anywhere near"
    thin = cv2.erode(edges.astype(np.uint8), np.ones((3, 3), np.uint8))
    assert thin.mean() < 0.002, "lines, not areas"


def test_canny_finds_the_outline_of_a_known_shape():
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste("black", (32, 48, 96, 80))
    rows, columns = np.nonzero(drawn("canny", picture))
    assert (abs(columns.min() - 32), abs(columns.max() - 96)) <= (1, 1)
    assert abs(rows.min() - 48) <= 1 and abs(rows.max() - 80) <= 1
    inside = drawn("canny", picture)[52:77, 36:93]
    assert not inside.any()


def test_canny_thresholds_and_blur_choose_edges():
    picture = photograph("coffee")
    counts = [(drawn("canny", picture, low=low, high=high) > 0).sum() for low, high in [
        (50, 100), (100, 200), (200, 400), (1000, 1000),
    ]]  # fmt: skip
    assert counts[0] > counts[1] > counts[2] > counts[3]
    assert (drawn("canny", picture, blur=3.0) > 0).sum() < counts[1] / 2
    red, green = Image.new("RGB", (64, 64), (150, 0, 0)), (0, 76, 0)
    red.paste(green, (32, 0, 64, 64))  # of the same brightness
    assert (drawn("canny", red) > 0).any(), "an edge between colours is one too"


@pytest.mark.parametrize("name", NAMES)
def test_lineart_is_what_controlnet_aux_draws(name):
    """At 512 × 512, where that detector does not resize; max difference 0."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from controlnet_aux.lineart_standard import LineartStandardDetector

    picture = preprocessors.run("none", photograph(name), {}, (512, 512))
    assert np.array_equal(
        preprocessors.run("lineart", picture, {}, (512, 512)), LineartStandardDetector()(picture)
    )


@pytest.mark.parametrize(
    "name, settings", [("lineart", {}), ("scribble", {"find": "dark lines", "thickness": 3})]
)
def test_lines_are_where_it_is_darker_than_around(name, settings):
    picture = Image.new("RGB", (512, 512), "white")
    picture.paste("black", (0, 250, 512, 256))
    lines = drawn(name, picture, **settings)
    assert lines[251:255].min() > 100 and not lines[:200].any() and not lines[300:].any()
    for photo in NAMES:
        share = (drawn(name, photograph(photo), (256, 256), **settings) > 100).mean()
        assert 0.005 < share < 0.5, photo
    plain = Image.new("RGB", (64, 64), (90, 20, 200))
    assert not drawn(name, plain, **settings).any(), "nothing to draw"


def test_scribbles_are_broad_and_follow_their_settings():
    picture = photograph("rocket")
    plain = drawn("scribble", picture) > 0
    assert set(np.unique(drawn("scribble", picture))) == {0, 255}
    assert (drawn("scribble", picture, threshold=96) > 0).sum() < plain.sum()
    broad = drawn("scribble", picture, thickness=24) > 0
    assert broad[plain].all() and broad.sum() > 1.5 * plain.sum()


def test_a_scribble_goes_round_a_bright_thing_too():
    """A disc on white is drawn, whether it is darker than the ground in all channels or not."""
    picture = Image.new("RGB", (128, 128), "white")
    y, x = np.mgrid[:128, :128] - 63.5
    pixels = np.asarray(picture).copy()
    pixels[np.hypot(x, y) < 40] = (250, 200, 40)
    lines = drawn("scribble", Image.fromarray(pixels)) > 0
    ring = abs(np.hypot(x, y) - 40)
    assert lines[ring < 0.5].mean() > 0.9 and not lines[ring > 4].any()
    assert not drawn("scribble", Image.fromarray(pixels), find="dark lines").any()


def test_line_width_follows_the_size_of_the_picture():
    """The map of half a picture is about half the map: pixel perfect."""
    picture = photograph("astronaut")
    whole = preprocessors.run("lineart", picture, {}, (512, 512)).convert("L")
    half = drawn("lineart", picture, (256, 256))
    shrunk = np.asarray(whole.resize((256, 256), Image.Resampling.BOX)).astype(float)
    assert np.corrcoef(half.ravel(), shrunk.ravel())[0, 1] > 0.9
    coarse = drawn("canny", picture, (512, 512), resolution=128)
    assert (coarse > 0).mean() > (drawn("canny", picture, (512, 512)) > 0).mean(), (
        "lines seen at a quarter of the size are four times as broad"
    )


def test_colours_stand_in_a_grid_of_means():
    picture = photograph("cat").resize((128, 64))
    made = np.asarray(preprocessors.run("color", picture, {"cells": 4}, (128, 64))).astype(int)
    cells = made.reshape(4, 16, 8, 16, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    means = np.asarray(picture).reshape(4, 16, 8, 16, 3).mean((1, 3))
    assert abs(cells[:, 0, :, 0] - means).max() <= 1


def test_tiles_lose_detail_and_nothing_else():
    picture = photograph("astronaut")
    same = preprocessors.run("tile", picture, {"down": 1}, picture.size)
    assert np.array_equal(same, picture)
    blurs = [preprocessors.run("tile", picture, {"down": d}, picture.size) for d in (2, 4, 8)]
    detail = [np.abs(cv2.Laplacian(np.asarray(p, np.float64), cv2.CV_64F)).mean() for p in blurs]
    assert detail[0] > detail[1] > detail[2]
    pixels = np.asarray(picture, np.float64)
    assert all(abs(np.asarray(p, np.float64).mean() - pixels.mean()) < 0.5 for p in blurs)


def test_shuffling_keeps_colours_and_loses_places():
    picture = photograph("coffee").resize((256, 256))
    one, same, other = (
        np.asarray(preprocessors.run("shuffle", picture, {"seed": seed}, size), np.float64)
        for seed, size in ((1, (256, 256)), (1, (256, 256)), (2, (256, 256)))
    )
    pixels = np.asarray(picture, np.float64)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert abs(one.mean((0, 1)) - pixels.mean((0, 1))).max() < 40
    assert abs(np.corrcoef(one.ravel(), pixels.ravel())[0, 1]) < 0.6
    colours = {tuple(c) for c in (pixels // 32).astype(int).reshape(-1, 3)}
    share = np.mean([tuple(c) in colours for c in (one // 32).astype(int).reshape(-1, 3)])
    assert share > 0.98


@pytest.mark.parametrize("name", ["canny", "scribble", "lineart", "color", "tile", "shuffle"])
def test_maps_are_deterministic(name):
    """Computed twice: the cache is asked for other sizes in between, and not used at all here."""
    picture = photograph("cat").resize((200, 150))
    row = preprocessors.describe(name)
    settings = row.canonical({})
    one, other = (row.detect(picture, settings, picture.size) for _ in range(2))
    assert np.array_equal(one, other)
