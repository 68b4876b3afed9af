"""Which ControlNets there are for a map, and the words that say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pipelines import Studio
from pipelines.request.control import MODES
from tests.helpers.tiny import controlnet, save_sd
from ui.control_editor.availability import Offer, empty_map, followed_by, missing_text
from ui.control_editor.map_state import MapState

SIZE = (32, 32)


@pytest.fixture(scope="module")
def studio(models: Path) -> Studio:
    """Has a ControlNet for edges and one for poses."""
    return Studio(models)


@pytest.fixture(scope="module")
def offer(studio: Studio) -> Offer:
    return Offer.of(studio, "basic")


def state(studio: Studio, preprocessor: str, size: tuple[int, int] = SIZE) -> MapState:
    return MapState(studio.add_picture(Image.new("RGB", size)), preprocessor)


def test_a_model_s_controlnets(offer: Offer) -> None:
    assert offer.ids == ["net-canny", "net-pose"]
    assert offer.modes == MODES
    assert offer.follows("canny") and offer.follows("pose")
    assert not offer.follows("depth") and not offer.follows("scribble")


def test_a_model_that_is_not_there_has_none_and_rules_nothing_out(studio: Studio) -> None:
    assert Offer.of(studio, "nowhere") == Offer("nowhere", (), MODES)


def test_without_a_picture_nothing_is_said(offer: Offer, studio: Studio) -> None:
    assert followed_by(offer, MapState(), "", SIZE, studio) == ""


def test_without_controlnets_the_tab_says_so_once(studio: Studio) -> None:
    assert followed_by(Offer("basic"), state(studio, "canny"), "", SIZE, studio) == ""


@pytest.mark.parametrize(
    ("preprocessor", "chosen", "said"),
    [
        ("canny", "", "net-canny follows this map."),
        ("canny", "net-pose", "net-pose follows this map."),
        (
            "scribble", "",
            "No ControlNet here for basic is known to follow this kind of map (Scribble). Take "
            "another kind, or choose one under “How it acts”: net-canny, net-pose.",
        ),
        (
            "none", "",
            "What kind of map this is, is not known; choose one under “How it acts”: net-canny, "
            "net-pose.",
        ),
    ],
)  # fmt: skip
def test_who_follows_a_map(
    offer: Offer, studio: Studio, preprocessor: str, chosen: str, said: str
) -> None:
    assert followed_by(offer, state(studio, preprocessor), chosen, SIZE, studio) == said


def test_a_ready_made_map_that_resembles_another_is_followed_as_that(
    offer: Offer, studio: Studio
) -> None:
    image = studio.add_picture(Image.new("RGB", SIZE))
    known = MapState(image, "none", like="canny")
    assert followed_by(offer, known, "", SIZE, studio) == "net-canny follows this map."


def test_several_of_a_kind_and_a_single_one(tmp_path: Path) -> None:
    save_sd(tmp_path / "basic")
    controlnet().save_pretrained(tmp_path / "net-canny")
    studio = Studio(tmp_path)
    alone = Offer.of(studio, "basic")
    assert followed_by(alone, state(studio, "scribble"), "", SIZE, studio).endswith(
        "(Scribble). net-canny will, since no other is here."
    )
    assert followed_by(alone, state(studio, "none"), "", SIZE, studio) == (
        "net-canny follows this map: no other is here."
    )
    controlnet().save_pretrained(tmp_path / "other-canny")
    both = Offer.of(Studio(tmp_path), "basic")
    assert followed_by(both, state(studio, "canny"), "", SIZE, studio) == (
        "Several ControlNets follow such maps; choose one under “How it acts”: net-canny, "
        "other-canny."
    )


@pytest.mark.parametrize(
    ("size", "parameters", "done"),
    [
        ((64, 32), {}, "cropped"),
        ((64, 32), {"resize": "pad"}, "padded"),
        ((64, 32), {"resize": "stretch"}, "stretched"),
        ((64, 64), {}, "scaled"),
    ],
)
def test_a_ready_made_map_of_another_size_says_what_becomes_of_it(
    offer: Offer, studio: Studio, size: tuple[int, int], parameters: dict[str, str], done: str
) -> None:
    image = studio.add_picture(Image.new("RGB", size))
    ready = MapState(image, "none", parameters)
    said = f"This map has {size[0]} × {size[1]} pixels, the picture 32 × 32: it is {done}."
    assert followed_by(offer, ready, "net-pose", SIZE, studio).endswith(said)
    assert "pixels" not in followed_by(offer, ready, "net-pose", size, studio)
    made = MapState(image, "canny")
    assert "pixels" not in followed_by(offer, made, "", SIZE, studio), "maps are made to size"


def test_what_to_do_without_a_controlnet() -> None:
    assert "its family takes none" in missing_text(Offer("<b>", (), ()))
    text = missing_text(Offer("<b>"))
    assert "models folder" in text and "&lt;b&gt;" in text and "<b>" not in text


def test_what_to_do_about_an_empty_map() -> None:
    assert "map 2 is empty" in str(empty_map(2, "edge"))
    said = [str(empty_map(1, kind)) for kind in ("pose", "depth", "edge")]
    for text, hint in zip(
        said, ("add a person", "lighten what is near", "draw an edge"), strict=True
    ):
        assert hint in text
