"""Pictures that are maps already: known in every look, and no other picture taken for one."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from PIL import Image, ImageOps

from pipelines import preprocessors
from pipelines.preprocessors.recognition import offered_text, recognise, recognise_any, used_text
from tests.pipelines.preprocessors.drawings import drawings
from tests.pipelines.preprocessors.map_pictures import (
    coloured,
    depths,
    maps,
    on_white,
    openpose,
    person,
)
from tests.pipelines.preprocessors.other_pictures import no_maps
from tests.pipelines.preprocessors.photographs import photograph

ASKED = ("pose", "canny", "depth", "normal", "segmentation")
KNOWN = {
    "pose": 1.0, "canny": 1.0, "scribble": 1.0, "lineart": 1.0, "softedge": 1.0, "depth": 0.9,
    "normal": 0.95, "segmentation": 1.0,
}  # fmt: skip
"""Least share of the maps that are known, by the preprocessor they are given to: real stereo, full
of specks, is known as depth until JPEG adds its own."""
TAKEN_MOST = {"depth": 3, "canny": 1}
"""Most other pictures that are taken for maps: blurred photographs for depth, of 240."""


def test_maps_are_known_in_every_look() -> None:
    seen, missed = Counter(), defaultdict(list)
    for kind, name, picture in maps():
        seen[kind] += 1
        found = recognise(picture, kind)
        if found is None:
            missed[kind].append(name)
        else:
            assert found.like == kind and found.map.size == picture.size
    for kind, count in seen.items():
        print(f"{kind:14} {count - len(missed[kind]):4} of {count:4} known  {missed[kind]}")
    assert set(KNOWN) - {"softedge"} <= set(seen)
    assert {k: v for k, v in missed.items() if len(v) > (1 - KNOWN[k]) * seen[k]} == {}


def test_no_other_picture_is_taken_for_a_map() -> None:
    seen, taken = Counter(), defaultdict(list)
    for group, name, picture in no_maps():
        seen[group] += 1
        for kind in ASKED:
            if recognise(picture, kind) is not None:
                taken[kind].append(f"{group}: {name}")
    print(*(f"{count:4} {group}" for group, count in seen.items()), dict(taken), sep="\n")
    assert sum(seen.values()) > 220
    assert {k: v for k, v in taken.items() if len(v) > TAKEN_MOST.get(k, 0)} == {}


def test_a_map_of_one_kind_is_not_taken_for_another() -> None:
    skeleton = openpose([person()], (512, 512), hands=True, face=True, half=4)
    edges = preprocessors.run("canny", photograph("cat"), {}, (512, 512))
    depth = dict(depths())["ball on a floor"]
    for picture, like in ((skeleton, "pose"), (edges, "canny"), (depth, "depth")):
        assert [kind for kind in ASKED if recognise(picture, kind)] == [like]
    for picture, like in ((skeleton, "pose"), (edges, "canny"), (depth, None)):
        found = recognise_any(picture)
        assert (found and found.like) == like
    assert recognise(skeleton, "tile") is None and recognise(skeleton, "none") is None


def test_maps_in_another_look_are_brought_into_the_form_that_is_followed() -> None:
    edges = preprocessors.run("canny", photograph("cat"), {}, (512, 512))
    found = recognise(ImageOps.invert(edges), "canny")
    assert found is not None and np.array_equal(found.map, edges)
    assert found.text.endswith("it is used as it is; its black lines on white were inverted.")
    skeleton = openpose([person()], (512, 512), hands=False, face=False, half=4)
    found = recognise(on_white(skeleton), "pose")
    assert found is not None and np.array_equal(found.map, skeleton) and found.changed
    depth = dict(depths())["room"]
    for name in ("INFERNO", "VIRIDIS", "TURBO"):
        found = recognise(coloured(depth, name), "depth")
        assert found is not None and "turned into grey" in found.text
        assert abs(np.asarray(found.map, int) - np.asarray(depth, int)).mean() < 3, name
    same = recognise(edges, "lineart")
    assert same is not None and same.map is edges and not same.changed
    assert same.text == "This picture is a map of lines already: it is used as it is."


def test_words_about_kinds_that_nobody_makes_are_none() -> None:
    assert used_text("tile", False) == offered_text("none") == ""
    assert offered_text("pose") == "This picture looks like a skeleton already."


def test_tiny_and_long_pictures_are_no_maps() -> None:
    for size in ((1, 1), (1, 4000), (4000, 2), (23, 23)):
        for kind in ASKED:
            assert recognise(Image.new("RGB", size, "black"), kind) is None


def test_drawings_in_thick_ink_stay_drawings() -> None:
    for name in ("pen of 8 px", "pencil", "photographed paper", "blue ink on yellow paper"):
        assert recognise(drawings()[name][0], "canny") is None, name
