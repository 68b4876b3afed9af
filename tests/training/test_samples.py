"""Edges of a picture from any domain."""

import numpy as np
import pytest

from training.data import figures, solids
from training.data.samples import Sample, edges


def square() -> Sample:
    pixels = np.full((128, 128, 3), 240, np.uint8)
    pixels[40:90, 40:90] = (20, 120, 60)
    return Sample(pixels, "a green square")


def test_canny_draws_the_outline_thin_and_nothing_else() -> None:
    lines = edges(square(), "canny")
    assert set(np.unique(lines)) == {0, 255}
    near = np.zeros((128, 128), bool)
    near[37:93, 37:93] = True
    near[43:87, 43:87] = False
    assert not lines[~near].any()
    assert 150 < (lines > 0).sum() < 300


def test_soft_edges_peak_at_the_border_and_fade() -> None:
    strength = edges(square(), "soft")
    assert strength.dtype == np.uint8
    assert strength.max() == 255
    assert strength[60, 39:41].min() > 200
    assert 0 < strength[60, 37] < 150
    assert not strength[60, 50:80].any()


def test_colours_of_equal_brightness_have_an_edge() -> None:
    pixels = np.full((128, 128, 3), (110, 100, 60), np.uint8)
    pixels[:, 64:] = (60, 100, 191)
    assert edges(Sample(pixels, ""), "soft")[64, 63:65].min() > 200


def test_a_plain_picture_has_no_edges() -> None:
    plain = Sample(np.full((128, 128, 3), 90, np.uint8), "")
    assert not edges(plain, "soft").any()
    assert not edges(plain, "canny").any()


@pytest.mark.parametrize("domain", [figures, solids])
def test_every_domain_has_edges(domain: object) -> None:
    sample = domain.sample(np.random.default_rng(1))  # type: ignore[attr-defined]
    for kind in ("canny", "soft"):
        assert edges(sample, kind).shape == (128, 128)
        assert edges(sample, kind).any()


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="sharp"):
        edges(square(), "sharp")  # type: ignore[arg-type]
