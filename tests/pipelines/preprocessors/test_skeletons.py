"""Skeletons: data that survives JSON, drawn as OpenPose draws them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidRequest
from pipelines.preprocessors.skeletons import (
    COLOURS,
    JOINTS,
    LIMBS,
    Skeleton,
    draw_skeletons,
    from_json,
    limb_width,
    to_json,
)

shares = st.floats(0, 1)
points = st.none() | st.tuples(shares, shares)
skeletons = st.builds(
    lambda joints, seen: Skeleton(tuple(joints), tuple(seen)),
    st.lists(points, min_size=18, max_size=18),
    st.lists(shares, min_size=18, max_size=18),
)
NOBODY = Skeleton.of([None] * 18)


def pixels(*people, size=(512, 512)):
    return np.asarray(draw_skeletons(people, size)).astype(int)


@given(st.lists(skeletons, max_size=3))
def test_json_round_trip(people):
    assert from_json(to_json(people)) == people


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"), ("{}", "are dict; give a list"), ("[3]", "must hold 18 joints"),
        ('[{"joints": []}]', "has 0 joints and 0 visibilities; it must have 18 of each"),
        ('[{"joints": [[1]]}]', "a joint is"), ('[{"joints": [[true, 0]]}]', "a joint is"),
        ('[{"joints": [[NaN, 0]' + ", null" * 17 + "]}]", "nose is at (nan, 0.0)"),
        ('[{"joints": [null, [0, 1.5]' + ", null" * 16 + "]}]", "neck is at (0.0, 1.5); x and y"),
        ('[{"joints": [null' + ", null" * 17 + '], "visibility": [2]}]', "1 visibilities"),
        ('[{"joints": [], "visibility": "all"}]', "visibility is all; it must be a list"),
        ("[" * 10_000, "not JSON"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text, said):
    with pytest.raises(InvalidRequest) as caught:
        from_json(text)
    assert said in str(caught.value)


def test_joints_move_hide_and_go():
    person = NOBODY.moved(4, (0.25, 0.5))
    assert person.drawn(4) == (0.25, 0.5) and person.visibility[4] == 1
    hidden = person.hidden(4)
    assert hidden.drawn(4) is None and hidden.joints[4] == (0.25, 0.5), "it is kept"
    assert hidden.moved(4, (0.25, 0.5)) == person
    assert person.moved(4, None) == NOBODY
    with pytest.raises(InvalidRequest, match="right wrist is at"):
        NOBODY.moved(4, (1.2, 0.5))


def test_each_joint_is_a_disc_in_its_own_colour():
    for joint, colour in enumerate(COLOURS):
        found = pixels(NOBODY.moved(joint, (0.25, 0.5)))
        rows, columns = np.nonzero(found.any(2))
        assert (found[rows, columns] == colour).all(), JOINTS[joint]
        assert np.hypot(rows - 256, columns - 128).max() <= 4.5
        assert len(rows) == pytest.approx(math.pi * 4**2, rel=0.15)
    assert not pixels(NOBODY).any() and not pixels().any()


def test_each_limb_is_an_ellipse_in_its_darker_colour():
    """For every limb, a horizontal one from x = 100 to 400: area π·a·b, half-width 4."""
    assert len(LIMBS) == 17 and len({frozenset(limb) for limb in LIMBS}) == 17
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        person = NOBODY.moved(start, (100 / 512, 0.5)).moved(end, (400 / 512, 0.5))
        found = pixels(person)
        darker = [int(value * 0.6) for value in colour]
        rows, columns = np.nonzero((found == darker).all(2))
        assert abs(rows - 256).max() == 4 and abs(columns - 250).max() <= 150
        assert columns.min() < 110 and columns.max() > 390
        assert len(rows) == pytest.approx(math.pi * 150 * 4, rel=0.2)


def test_limbs_point_from_joint_to_joint():
    person = NOBODY.moved(2, (0.2, 0.2)).moved(3, (0.5, 0.8))
    found = pixels(person)
    rows, columns = np.nonzero(found.any(2))
    along = np.asarray([0.3, 0.6]) / math.hypot(0.3, 0.6)
    away = (columns - 0.2 * 512) * along[1] - (rows - 0.2 * 512) * along[0]
    assert abs(away).max() <= 6
    one_joint = person.hidden(3)
    assert pixels(one_joint).any(2).sum() < 60, "a limb needs both joints"


@settings(max_examples=30, deadline=None)
@given(st.lists(skeletons, min_size=1, max_size=2), st.sampled_from([(512, 512), (768, 640)]))
def test_drawing_equals_controlnet_aux(people, size):
    """Max difference 0 from 512 px on; smaller maps have thinner limbs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from controlnet_aux.open_pose.body import Keypoint
        from controlnet_aux.open_pose.util import draw_bodypose

    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    for person in people:
        joints = [person.drawn(joint) for joint in range(18)]
        draw_bodypose(canvas, [None if p is None else Keypoint(*p) for p in joints])
    assert np.array_equal(pixels(*people, size=size), canvas)


def test_small_maps_have_thin_limbs():
    assert [limb_width((side, 2000)) for side in (64, 128, 256, 384, 512, 1024)] == [
        2, 2, 2, 3, 4, 4,
    ]  # fmt: skip
    person = NOBODY.moved(0, (1.0, 1.0)).moved(1, (0.0, 0.0))
    assert pixels(person, size=(64, 96)).any(), "joints on the very edge do no harm"
