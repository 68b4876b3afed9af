"""Lines of drawings and outlines of photographs: enough of them, and where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from pytest import mark

from pipelines import preprocessors
from pipelines.preprocessors.picture_medium import medium_of
from tests.pipelines.preprocessors.drawings import drawings, figure
from tests.pipelines.preprocessors.photographs import MORE, NAMES, photograph

ROOT = Path(__file__).parents[3]


def shipped_pictures():
    """What the shipped models drew, one after another."""
    for file in sorted((ROOT / "models").glob("emoji-*/samples.png")):
        sheet = Image.open(file).convert("RGB")
        for x in range(0, sheet.width, 256):
            yield f"{file.parent.name} {x // 256}", sheet.crop((x, 0, x + 256, 256))


def drawn(name, picture, **parameters):
    made = preprocessors.run(name, picture, parameters, picture.size)
    return np.asarray(made.convert("L")) > 100


@mark.parametrize("name", drawings())
def test_drawings_are_known_by_their_lines(name):
    picture, wanted = drawings()[name]
    assert medium_of(picture) == wanted
    assert medium_of(picture.rotate(90)) == wanted


def test_photographs_and_flat_pictures_are_no_drawings():
    """The Hubble deep field is: light dots on an even dark ground are as good as chalk."""
    for name in (*NAMES, *MORE):
        if name != "hubble_deep_field":
            assert medium_of(photograph(name)) == "other", name
    dark = photograph("astronaut").point(lambda value: value // 5)
    bright = photograph("coffee").point(lambda value: 255 - (255 - value) * 2 // 5)
    assert medium_of(dark) == medium_of(bright) == "other", "a night, a snowfield"
    for name, picture in shipped_pictures():
        assert medium_of(picture) == "other", name
    for colour in ("white", "black", "#888", "red"):
        assert medium_of(Image.new("RGB", (300, 200), colour)) == "other"
    for size in ((1, 1), (1, 900), (900, 2), (16, 16)):
        assert medium_of(Image.new("RGB", size, "white")) == "other"


def test_scribbles_have_the_main_lines_of_every_picture():
    """The map of ordinary pictures is between 2 and 35 % white."""
    pictures = [(name, photograph(name).resize((512, 512))) for name in (*NAMES, *MORE)]
    pictures += [(name, one) for name, (one, _) in drawings().items()]
    pictures += list(shipped_pictures())
    shares = {name: drawn("scribble", one).mean() for name, one in pictures}
    assert {name: share for name, share in shares.items() if not 0.02 <= share <= 0.35} == {}


@mark.parametrize("name", drawings())
def test_a_scribble_of_a_drawing_is_the_drawing(name):
    """Lines lie where ink lies, once, whichever way round it is drawn."""
    picture, medium = drawings()[name]
    size, broad = picture.size, max(1, round(8 * picture.width / 512))
    lines = drawn("scribble", picture)
    shade = np.asarray(picture.convert("L"), float)
    ink = abs(shade - np.median(shade, axis=0, keepdims=True)) > 40
    near = np.asarray(Image.fromarray(ink).convert("L").resize(size)) > 0
    grown = Image.fromarray(near).convert("L")
    grown = np.asarray(grown.filter(ImageFilter.MaxFilter(2 * broad + 5))) > 0
    assert lines[near].mean() > (0.6 if "small" in name else 0.8), (
        "the ink, less of what is blurred"
    )
    assert lines[grown].sum() > 0.97 * lines.sum(), "and little else"
    plain = drawn("scribble", picture, find=medium)
    assert (plain == lines).all()


def test_a_line_is_one_line_in_a_scribble_not_two_outlines():
    for page in (figure(width=4), ImageOps.invert(figure(width=4))):
        across = drawn("scribble", page)[320, :].astype(int)  # through the body alone
        assert (np.diff(across) == 1).sum() == 1


def test_line_art_of_chalk_is_its_lines():
    page = figure(width=4)
    dark, light = drawn("lineart", page), drawn("lineart", ImageOps.invert(page))
    assert (dark == light).all() and dark[230:340, 252:260].any(1).mean() > 0.95
    assert not (drawn("lineart", ImageOps.invert(page), find="dark lines") == light).all()
