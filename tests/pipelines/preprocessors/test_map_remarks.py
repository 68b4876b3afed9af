"""What is said about maps that hold nearly nothing, or are full."""

from __future__ import annotations

import numpy as np
from PIL import Image
from pytest import mark

from pipelines import preprocessors
from pipelines.preprocessors import draw_skeletons, remark
from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.skeletons import standing
from tests.pipelines.preprocessors.photographs import MORE, NAMES, photograph

SIZE = (512, 512)


def said(name: str, photo: str) -> str:
    return remark(name, preprocessors.run(name, photograph(photo), {}, SIZE))


def test_canny_of_faint_and_of_rough_pictures_says_which_thresholds_to_move() -> None:
    assert said("canny", "clock").startswith("Almost nothing (0.09 %) is drawn in this map: lower")
    assert said("canny", "grass").startswith("31 % of this map is lines, so it says little: raise")
    assert remark("canny", Image.new("RGB", SIZE)).startswith("Nothing is drawn in this map")


def test_ordinary_maps_need_no_word() -> None:
    for photo in NAMES:
        for name in ("canny", "scribble", "lineart"):
            assert said(name, photo) == "", (name, photo)
    assert all(said("scribble", photo) == "" for photo in MORE)


@mark.parametrize("side", [128, 256, 1024])
def test_lines_of_one_pixel_count_alike_at_every_size(side: int) -> None:
    page = np.zeros((side, side, 3), np.uint8)
    page[side // 3] = page[:, side // 2] = page[:, side // 4] = 255
    assert remark("canny", Image.fromarray(page)) == ""
    page[:] = 0
    page[side // 3, : side // 4] = 255
    assert remark("canny", Image.fromarray(page)).startswith("Almost nothing")


def test_poses_without_people_flat_depth_and_one_segment() -> None:
    assert "Nobody was found" in remark("pose", Image.new("RGB", SIZE))
    assert remark("pose", draw_skeletons([standing(SIZE)], SIZE)) == ""
    flat, slope = Image.new("RGB", SIZE, "#808080"), Image.linear_gradient("L").convert("RGB")
    assert "flat" in remark("depth", flat) and remark("depth", slope) == ""
    assert "flat" in remark("normal", Image.new("RGB", SIZE, (128, 128, 255)))
    one = Image.new("RGB", SIZE, ade20k()[0].colour)
    assert "one segment" in remark("segmentation", one)
    one.paste(ade20k()[1].colour, (0, 0, 512, 200))
    assert remark("segmentation", one) == ""
    assert remark("tile", flat) == remark("color", flat) == remark("none", flat) == ""


@mark.parametrize("size", [(512, 512), (1024, 512), (512, 1024), (300, 1500), (1500, 300), (1, 1)])
def test_a_standing_figure_stands_inside_a_map_of_any_shape_undistorted(size) -> None:
    joints = np.asarray(standing(size).joints) * size
    assert (joints >= 0).all() and (joints <= size).all()
    tall, wide = np.ptp(joints[:, 1]), np.ptp(joints[:, 0])
    assert abs(tall / wide - 0.74 / 0.28) < 0.01
    assert tall > 0.7 * min(size[1], 2 * size[0])


NAMES_OF_ALL = [name for name in preprocessors.names() if preprocessors.available(name)]


@mark.parametrize("name", NAMES_OF_ALL)
@mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3, 2), (2000, 20)])
def test_tiny_and_long_pictures_have_maps(name: str, shape: tuple[int, int]) -> None:
    for resize in ("crop", "pad", "stretch"):
        made = preprocessors.run(
            name, Image.new("RGB", shape, "#a04020"), {"resize": resize}, (96, 64)
        )
        assert made.size == (96, 64) and isinstance(remark(name, made), str)
