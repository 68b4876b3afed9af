"""Pictures as people have them: of phones, scanners, other programs, each as a browser shows it."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from pytest import mark

from pipelines.errors import InvalidRequest
from pipelines.runs.image_store import ImageStore
from pipelines.utils.images import content_hash, flatten, open_picture
from tests.pipelines.utils.test_images import encoded, gradient

ROOT = Path(__file__).parents[3]


def far(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures, 0..255."""
    assert (one.mode, one.size) == (other.mode, other.size) == ("RGB", other.size)
    return int(abs(np.asarray(one, int) - np.asarray(other, int)).max())


def turned_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@mark.parametrize("format", ["MPO", "GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_pictures_in_a_file_the_first_is_taken(format: str) -> None:
    """A phone's JPEG holds a gain map or a second eye; an animation begins with its first."""
    first, second = Image.new("RGB", (64, 48), (200, 40, 30)), Image.new("RGB", (64, 48), "blue")
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(first, format, save_all=True, append_images=[second], **options)
    with Image.open(io.BytesIO(data)) as found:
        assert found.n_frames == 2, "else this tests nothing"
    assert far(open_picture(data), first) <= 6


def test_a_second_picture_in_a_jpeg_may_be_of_another_size_and_the_camera_turned() -> None:
    small = Image.new("RGB", (16, 12), "white")
    shot = gradient().transpose(Image.Transpose.ROTATE_90)
    data = encoded(shot, "MPO", save_all=True, append_images=[small], exif=turned_exif(6))
    opened = open_picture(data)
    assert opened.size == (40, 30)
    assert np.abs(np.asarray(opened, int) - np.asarray(gradient(), int)).mean() < 4


@mark.parametrize("orientation", range(1, 9))
@mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_all_eight_ways_to_hold_a_camera(orientation: int, format: str) -> None:
    way = Image.Transpose
    undone = {
        2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE,
        6: way.ROTATE_90, 7: way.TRANSVERSE, 8: way.ROTATE_270,
    }  # fmt: skip
    held = gradient() if orientation == 1 else gradient().transpose(undone[orientation])
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(held, format, exif=turned_exif(orientation), **lossless)
    assert far(open_picture(data), gradient()) == 0


def test_exif_that_cannot_be_read_costs_the_turn_alone() -> None:
    data = encoded(gradient(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert far(open_picture(data), gradient()) == 0


def profile_of_swapped_channels() -> bytes:
    """sRGB whose red primary is green's and the other way round: what it does cannot be missed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    places = {bytes(data[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    for at in (m.start() for m in re.finditer(b"s\0R\0G\0B|sRGB", bytes(data[300:]))):
        data[300 + at] = ord("x") if data[300 + at + 1] else data[300 + at]
    return bytes(data).replace(b"\0s\0R\0G\0B", b"\0x\0R\0G\0B")


@mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_a_colour_profile_is_carried_out(format: str, tmp_path: Path) -> None:
    """Pixels in a wide gamut look pale and wrong as numbers: Display P3 of phones, Adobe RGB."""
    profile = profile_of_swapped_channels()
    red = Image.new("RGB", (32, 32), (230, 20, 20))
    options = {"quality": 95} if format in ("JPEG", "AVIF") else {}
    opened = open_picture(encoded(red, format, icc_profile=profile, **options))
    assert far(opened, Image.new("RGB", (32, 32), (20, 230, 20))) < 14
    assert opened.info == {}, "else it would be carried out again when it is stored and read"
    store = ImageStore(tmp_path)
    name = store.add(encoded(red, format, icc_profile=profile, **options))
    assert far(store.get(name), opened) == 0


def test_pictures_kept_by_older_versions_beside_their_profile_are_still_found(
    tmp_path: Path,
) -> None:
    store = ImageStore(tmp_path)
    name = content_hash(gradient())
    (tmp_path / name[:2]).mkdir()
    gradient().save(tmp_path / name[:2] / f"{name}.png", icc_profile=profile_of_swapped_channels())
    assert far(store.get(name), gradient()) == 0


def test_an_srgb_profile_changes_nothing_and_a_profile_of_other_pixels_counts_for_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (srgb, lab, b"no profile at all", srgb[:90]):
        assert far(open_picture(encoded(gradient(), "PNG", icc_profile=profile)), gradient()) == 0
    grey = gradient().convert("L")
    assert far(open_picture(encoded(grey, "PNG", icc_profile=srgb)), grey.convert("RGB")) == 0


def test_a_profile_and_transparency_together() -> None:
    layer = Image.new("RGBA", (2, 1), (230, 20, 20, 255))
    layer.putpixel((1, 0), (230, 20, 20, 0))
    opened = open_picture(encoded(layer, "PNG", icc_profile=profile_of_swapped_channels()))
    assert opened.getpixel((1, 0)) == (255, 255, 255)
    assert np.abs(np.subtract(opened.getpixel((0, 0)), (20, 230, 20))).max() < 12


MODES = {
    "CMYK": ("JPEG", (0, 255, 255, 0), (255, 0, 0)),
    "1": ("PNG", 1, (255, 255, 255)),
    "L": ("PNG", 77, (77, 77, 77)),
    "LA": ("PNG", (77, 255), (77, 77, 77)),
    "P": ("GIF", 0, (10, 200, 30)),
    "I;16": ("PNG", 0x4D12, (77, 77, 77)),
    "I;16B": ("TIFF", 0x4D12, (77, 77, 77)),
    "I": ("TIFF", 0x4D12, (77, 77, 77)),
    "F": ("TIFF", 0.3, (76, 76, 76)),
    "LAB": ("TIFF", (137, 208, 195), (255, 0, 0)),
    "YCbCr": ("JPEG", (76, 84, 255), (254, 0, 0)),
}


@mark.parametrize("mode", MODES)
def test_every_mode_that_files_have(mode: str) -> None:
    format, value, wanted = MODES[mode]
    image = Image.new(mode, (24, 16), value)
    if mode == "P":
        image.putpalette([10, 200, 30])
    opened = open_picture(encoded(image, format))
    assert opened.size == (24, 16) and opened.mode == "RGB"
    assert np.abs(np.subtract(opened.getpixel((5, 5)), wanted)).max() <= (
        12 if mode == "LAB" else 4
    )
    assert flatten(image).getpixel((5, 5)) == opened.getpixel((5, 5)) or format == "JPEG"


@mark.parametrize("mode", ["La", "RGBa", "PA", "HSV", "RGBX"])
def test_modes_that_only_programs_have(mode: str) -> None:
    assert flatten(Image.new(mode, (3, 2))).mode == "RGB"


def test_deep_grey_is_spread_where_its_numbers_are_of_no_known_range() -> None:
    metres = Image.fromarray(np.asarray([[-2.0, 4.0, np.nan, 8.0]], np.float32))
    assert np.asarray(flatten(metres))[0, :, 0].tolist() == [0, 153, 51, 255]
    large = Image.fromarray(np.asarray([[0, 100_000, 200_000]], np.int32))
    assert np.asarray(flatten(large))[0, :, 0].tolist() == [0, 128, 255]
    flat = Image.fromarray(np.full((2, 2), 9e9, np.float32))
    assert np.asarray(flatten(flat)).shape == (2, 2, 3)


def test_a_white_drawing_without_a_ground_stands_on_black_all_others_on_white() -> None:
    for colour, ground in (
        ("white", (0, 0, 0)), ((230, 230, 230), (0, 0, 0)), ("black", (255, 255, 255)),
        ("yellow", (255, 255, 255)), ((200, 200, 200), (255, 255, 255)),
    ):  # fmt: skip
        sheet = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
        ImageDraw.Draw(sheet).line((5, 5, 35, 30), fill=colour, width=5)
        opened = open_picture(encoded(sheet, "PNG"))
        assert opened.getpixel((0, 0)) == ground, colour
        if ground == (0, 0, 0):
            assert min(opened.getpixel((20, 18))) > 200, "and is seen there"
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    assert open_picture(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    whole = Image.new("RGBA", (4, 4), (255, 255, 255, 255))
    assert open_picture(encoded(whole, "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_values_of_grey_and_16_bit_pictures() -> None:
    grey = Image.new("L", (2, 1), 9)
    grey.putpixel((1, 0), 120)
    opened = open_picture(encoded(grey, "PNG", transparency=9))
    assert [opened.getpixel((x, 0))[0] for x in (0, 1)] == [255, 120]
    deep = Image.fromarray(np.asarray([[0x0900, 0x7800]], np.uint16))
    deep.info["transparency"] = 0x0900
    assert np.asarray(flatten(deep))[0, :, 0].tolist() == [255, 0x78]
    mask = Image.new("1", (2, 1), 0)
    mask.putpixel((1, 0), 1)
    assert open_picture(encoded(mask, "PNG", transparency=0)).size == (2, 1)


@mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_tiny_and_long_pictures(size: tuple[int, int]) -> None:
    assert open_picture(encoded(Image.new("RGB", size, "red"), "PNG")).size == size


OTHERS = {
    "a HEIC picture, as phones take them.* share it as JPEG": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a HEIC picture": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
    "a drawing in SVG.* export it as PNG": b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="">',
    "a JPEG XL picture": b"\xff\x0a\xfa\x1f\x41\x91",
    "a PDF": b"%PDF-1.7",
    "a Photoshop document": b"8BPS\0\1",
    "a film": b"\0\0\0\x18ftypisom\0\0\2\0",
    "no picture that can be read": b"hello",
}


@mark.parametrize("said", OTHERS)
def test_what_cannot_be_read_is_called_by_its_name(said: str, tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(OTHERS[said])
    for source in (path, OTHERS[said]):
        with pytest.raises(InvalidRequest, match=said) as caught:
            open_picture(source)
        assert "allowed are PNG, JPEG, WEBP, BMP, GIF, AVIF, TIFF" in str(caught.value)


@mark.parametrize("format", ["PNG", "JPEG", "MPO", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
def test_damage_anywhere_is_an_error_of_ours_or_no_matter(format: str) -> None:
    whole = encoded(gradient(), format)
    draw = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(whole)
        for place in draw.integers(0, len(data), 8):
            data[place] = draw.integers(0, 256)
        try:
            assert open_picture(bytes(data[: draw.integers(10, len(data) + 1)])).mode == "RGB"
        except InvalidRequest as error:
            assert len(str(error)) < 400


def test_pictures_come_in_by_this_door_alone() -> None:
    """Other code that opens pictures reads texts beside them, or files of its own."""
    texts = {"carriers/texts.py", "carriers/hidden_alpha.py"}
    allowed = {"pipelines/utils/images.py", "pipelines/runs/storage/picture_files.py"}
    allowed |= {f"pipelines/runs/metadata/{name}" for name in texts}
    allowed |= {"pipelines/runs/sheet_folder.py"}  # cells that it has just written
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in ("pipelines", "ui", "presets")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"Image\.open\(|cv2\.imread|imdecode", file.read_text("utf-8"))
    }
    assert found == allowed
