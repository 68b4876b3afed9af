"""Drawn people: the same from a seed, joints where they are drawn, captions that are true."""

from dataclasses import replace

import numpy as np
import pytest

from training.data import figures
from training.data.colours import NAMED
from training.data.figures import SKINS, Figure, caption, draw, random_figure
from training.data.outlines import PARTS
from training.data.poses import KEYPOINTS, POSES
from training.data.samples import PLAIN, Sample, Wording

COUNT = 60
FIGURES = [random_figure(np.random.default_rng(seed)) for seed in range(COUNT)]
DRAWN = [draw(figure) for figure in FIGURES]
PAIRS = list(zip(FIGURES, DRAWN, strict=True))


def joint(sample: Sample, name: str) -> tuple[np.ndarray, bool]:
    x, y, visible = sample.maps["keypoints"][KEYPOINTS.index(name)]
    return np.array([x, y]), bool(visible)


def colour_at(sample: Sample, point: np.ndarray) -> np.ndarray:
    x, y = point.astype(int)
    return sample.pixels[y, x].astype(int)


def part_at(sample: Sample, point: np.ndarray) -> str:
    x, y = point.astype(int)
    return PARTS[sample.maps["parts"][y, x]]


def side_letter(figure: Figure, side: str) -> str:
    return "a" if (side == "right") != figure.mirrored else "b"


def test_a_seed_decides_the_sample() -> None:
    once, again, other = (figures.sample(np.random.default_rng(s)) for s in (4, 4, 5))
    assert once.caption == again.caption
    assert np.array_equal(once.pixels, again.pixels)
    assert np.array_equal(once.maps["keypoints"], again.maps["keypoints"])
    assert not np.array_equal(once.pixels, other.pixels)


def test_all_poses_are_drawn_and_leave_a_plain_margin() -> None:
    assert {figure.pose for figure in FIGURES} == set(POSES)
    for figure, sample in PAIRS:
        assert sample.pixels.shape == (128, 128, 3)
        framed = sample.pixels.copy()
        framed[8:-8, 8:-8] = NAMED[figure.background]
        assert (framed == NAMED[figure.background]).all(), figure.pose
        rows, columns = np.nonzero(sample.maps["parts"])
        assert max(np.ptp(rows), np.ptp(columns)) > 85


def test_shirt_and_trousers_have_their_colours_along_the_limbs() -> None:
    legs = chests = 0
    for figure, sample in PAIRS:
        neck = joint(sample, "neck")[0]
        hips = (joint(sample, "right hip")[0] + joint(sample, "left hip")[0]) / 2
        chest = 0.7 * neck + 0.3 * hips
        if part_at(sample, chest) == "torso":
            chests += 1
            edge = np.abs(colour_at(sample, chest) - NAMED[figure.shirt]).max()
            assert edge <= 2, (figure.pose, figure.shirt)
        for side in ("right", "left"):
            letter = side_letter(figure, side)
            knee, ankle = joint(sample, f"{side} knee"), joint(sample, f"{side} ankle")
            shin = (knee[0] + ankle[0]) / 2
            if not (knee[1] and ankle[1] and part_at(sample, shin) == f"{letter} leg"):
                continue
            legs += 1
            far = figures.FAR_SHADE if POSES[figure.pose].side and letter == "b" else 1
            wanted = np.round(np.array(NAMED[figure.trousers]) * far)
            # Another leg's edge may come within a pixel of the middle of this one.
            near = [colour_at(sample, shin + d) - wanted for d in ((0, 0), (1, 0), (-1, 0))]
            assert min(np.abs(d).max() for d in near) <= 2, (figure.pose, side)
    assert chests > COUNT * 0.6
    assert legs > COUNT


def test_bare_forearms_are_skin_and_long_sleeves_are_not() -> None:
    for figure, sample in PAIRS:
        front = not POSES[figure.pose].side
        for side in ("right", "left"):
            (elbow, seen), (wrist, also) = (
                joint(sample, f"{side} {name}") for name in ("elbow", "wrist")
            )
            middle = (elbow + wrist) / 2
            letter = side_letter(figure, side)
            if not (seen and also and front and part_at(sample, middle) == f"{letter} arm"):
                continue
            wanted = NAMED[figure.shirt] if figure.long_sleeves else SKINS[figure.skin]
            assert np.abs(colour_at(sample, middle) - wanted).max() <= 12, figure.pose


def test_a_mirrored_figure_is_the_mirror_image_with_left_and_right_exchanged() -> None:
    for figure in FIGURES[:8]:
        figure = replace(figure, place=(0.5, 0.5))
        one, two = (draw(replace(figure, mirrored=m)) for m in (False, True))
        difference = np.abs(one.pixels[:, ::-1].astype(int) - two.pixels).mean()
        assert difference < 1.0
        for name in KEYPOINTS:
            swap = {"right": "left", "left": "right"}
            side, _, rest = name.rpartition(" ")
            other = f"{swap[side]} {rest}" if side else name
            here, there = joint(one, name)[0], joint(two, other)[0]
            assert here == pytest.approx((128 - there[0], there[1]), abs=1e-3)


def test_facing_the_viewer_the_right_hand_is_on_the_left_of_the_picture() -> None:
    for figure, sample in PAIRS:
        if figure.pose == "arms out":
            assert joint(sample, "right wrist")[0][0] < joint(sample, "left wrist")[0][0]


def test_a_far_leg_behind_the_near_one_is_hidden() -> None:
    figure = replace(next(f for f in FIGURES if f.pose == "walking"), legs=((10, 5), (10, 5)))
    sample = draw(figure)
    near, far = ("left", "right") if figure.mirrored else ("right", "left")
    assert joint(sample, f"{near} knee")[1]
    assert not joint(sample, f"{far} knee")[1]


def test_the_plain_caption_names_everything() -> None:
    for figure, sample in PAIRS:
        text = sample.caption
        shirt, trousers = f", {figure.shirt} shirt", f", {figure.trousers} trousers"
        assert text.startswith(f"a person {POSES[figure.pose].said[0]}{shirt}{trousers}")
        named = f" {figure.background} background" in text
        assert named == (figure.background != "white")


def test_captions_vary_but_name_no_other_colour() -> None:
    figure = replace(FIGURES[0], shirt="orange", trousers="black", background="pink")
    rng = np.random.default_rng(0)
    said = {caption(figure, Wording(), rng) for _ in range(300)}
    assert len(said) > 40
    for text in said:
        words = text.replace(",", "").split()
        assert set(words) & set(NAMED) <= {"orange", "black", "pink"}
        assert "pink" in words
        assert "a orange" not in text
        for colour, things in (("orange", ("shirt", "t-shirt")), ("black", ("trousers", "pants"))):
            assert all(words[i + 1] in things for i, word in enumerate(words) if word == colour)


def test_clothes_are_always_said_where_the_bare_name_means_an_emoji() -> None:
    figure = replace(FIGURES[0], pose="running")
    bare = replace(PLAIN, unsaid_shirt=1, unsaid_trousers=1)
    assert "shirt" in caption(figure, bare, np.random.default_rng(0))
    standing = replace(figure, pose="standing", background="white")
    assert caption(standing, bare, np.random.default_rng(0)) == "a person standing"
