"""The registry: what every row promises, parameters made canonical, maps made once."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from PIL import Image

from pipelines import preprocessors
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.preprocessors.map_cache import MapCache, key_of
from pipelines.utils.images import content_hash
from tests.pipelines.preprocessors.photographs import photograph
from tests.robustness.test_imports import HEAVY, fresh

CLASSIC = ["canny", "scribble", "lineart", "color", "tile", "shuffle", "none"]


def test_the_rows_read_like_a_menu():
    rows = [preprocessors.describe(name) for name in preprocessors.names()]
    assert [row.name for row in rows] == [
        *("canny", "softedge", "scribble", "lineart", "pose", "depth", "normal", "segmentation"),
        *("color", "tile", "shuffle", "none"),
    ]
    assert len({row.label for row in rows}) == len(rows)
    for row in rows:
        assert row.help and row.cost, row.name
        assert row.canonical({})["resize"] == "crop", "defaults are allowed"
        for parameter in row.all_parameters:
            assert parameter.help and parameter.label, (row.name, parameter.name)
    assert [row.name for row in rows if row.weights is None] == CLASSIC
    assert all(preprocessors.available(name) for name in CLASSIC)


def test_reading_the_registry_is_light():
    told = fresh(
        f"""
from pipelines import preprocessors
rows = [(preprocessors.describe(n), preprocessors.problem(n)) for n in preprocessors.names()]
tell(heavy=[name for name in {[*HEAVY, "cv2", "controlnet_aux", "h5py"]!r} if name in sys.modules])
"""
    )
    assert told == {"sockets": [], "devices": [], "heavy": []}


def test_equal_settings_become_equal():
    for given in ({}, {"low": 100}, {"low": "100", "high": 200.0}, {"blur": -0.0}, {"blur": "0"}):
        found = preprocessors.check_parameters("canny", given)
        assert json.dumps(found) == (
            '{"low": 100, "high": 200, "blur": 0.0, "resize": "crop", "resolution": 0}'
        )


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("canny", {"low": -1}, "low is -1; it must be a whole number from 0 to 1000"),
        ("canny", {"low": 1.5}, "low is 1.5; it must be a whole number"),
        ("canny", {"low": "much"}, "low is 'much'; it must be"),
        ("canny", {"low": True}, "low is True; it must be"),
        ("canny", {"low": None}, "low is None; it must be"),
        ("canny", {"high": 10**400}, "it must be a whole number from 0 to 1000"),
        ("canny", {"blur": float("nan")}, "blur is nan; it must be a number from 0 to 10"),
        ("canny", {"low": 201}, "low is 201 and high is 200; low must not be above high"),
        ("canny", {"resize": "fill"}, "resize is 'fill'; it must be one of crop, pad, stretch"),
        ("canny", {"resize": []}, "it must be one of crop, pad, stretch"),
        ("canny", {"resolution": 63}, "resolution is 63; it must be 0 or 64 to 2048"),
        ("pose", {"people": 0}, "people is 0; it must be a whole number from 1 to 16"),
    ],
)
def test_bad_parameters_are_named(name, given, text):
    with pytest.raises(InvalidRequest) as caught:
        preprocessors.check_parameters(name, given)
    assert text in str(caught.value)
    with pytest.raises(InvalidRequest):
        preprocessors.run(name, Image.new("RGB", (8, 8)), given, (8, 8))


def test_unknown_names_are_told_what_is_near():
    with pytest.raises(UnknownName, match=r"'cany'; did you mean 'canny'\? .python app.py pre"):
        preprocessors.describe("cany")
    with pytest.raises(UnknownName, match="unknown parameter of canny 'hihg'; did you mean 'high'"):
        preprocessors.check_parameters("canny", {"hihg": 3})
    with pytest.raises(UnknownName, match="resolution"):
        preprocessors.check_parameters("none", {"resolution": 512})


@pytest.mark.parametrize("size", [(0, 8), (8, 8193), (8.0, 8)])
def test_bad_sizes_are_refused(size):
    with pytest.raises(InvalidRequest, match="must be 1 to 8192"):
        preprocessors.run("none", Image.new("RGB", (8, 8)), {}, size)


def test_a_map_is_made_once():
    picture = photograph("coffee").resize((150, 100))
    before = preprocessors.cache_stats()
    first = preprocessors.run("canny", picture, {"low": 61}, (96, 64))
    again = preprocessors.run("canny", picture.copy(), {"low": 61.0, "high": "200"}, (96, 64))
    see_through = picture.convert("RGBA")
    third = preprocessors.run("canny", see_through, {"low": 61}, (96, 64))
    after = preprocessors.cache_stats()
    assert (after.runs - before.runs, after.hits - before.hits) == (1, 2)
    assert np.array_equal(first, again) and np.array_equal(first, third)
    first.paste("red", (0, 0, 96, 64))
    assert np.array_equal(preprocessors.run("canny", picture, {"low": 61}, (96, 64)), again), (
        "what a caller does to a map stays with the caller"
    )
    for name, parameters, size in [
        ("canny", {"low": 62}, (96, 64)), ("canny", {"low": 61}, (64, 64)),
        ("lineart", {}, (96, 64)),
    ]:  # fmt: skip
        runs = preprocessors.cache_stats().runs
        preprocessors.run(name, picture, parameters, size)
        assert preprocessors.cache_stats().runs == runs + 1


def test_the_cache_forgets_what_was_not_used_longest():
    cache = MapCache(3 * 300)
    flat = {i: Image.new("RGB", (10, 10), (i, 0, 0)) for i in range(5)}
    keys = {i: key_of(content_hash(picture), "none", {}, (10, 10)) for i, picture in flat.items()}
    for i in (0, 1, 2, 0, 3):
        cache.get(keys[i], lambda i=i: flat[i])
    assert (cache.stats().runs, cache.stats().hits, cache.stats().bytes) == (4, 1, 900)
    cache.get(keys[0], lambda: flat[0])
    assert cache.stats().runs == 4, "0 was used after 1"
    assert cache.get(keys[1], lambda: flat[1]).getpixel((0, 0)) == (1, 0, 0)
    assert cache.stats().runs == 5 and cache.stats().bytes == 900
    big = Image.new("RGB", (20, 20))
    cache.get(key_of(content_hash(big), "none", {}, (20, 20)), lambda: big)
    assert cache.stats().bytes == 900, "what is larger than the cache is not kept"


def test_threads_that_want_the_same_map_wait_for_one():
    cache, made, start = MapCache(10_000), [], threading.Barrier(8)
    picture = Image.new("RGB", (10, 10), "red")
    key = key_of(content_hash(picture), "none", {}, (10, 10))

    def make():
        made.append(threading.get_ident())
        threading.Event().wait(0.05)
        return picture

    def ask():
        start.wait()
        assert cache.get(key, make).getpixel((0, 0)) == (255, 0, 0)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and cache.stats().runs == 1 and cache.stats().hits == 7


def test_a_failure_is_not_kept():
    cache, key = MapCache(10_000), key_of("0" * 32, "none", {}, (1, 1))
    with pytest.raises(ZeroDivisionError):
        cache.get(key, lambda: 1 / 0)
    assert cache.get(key, lambda: Image.new("RGB", (1, 1), "red")).getpixel((0, 0))[0] == 255
