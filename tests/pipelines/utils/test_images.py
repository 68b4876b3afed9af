"""Pictures from outside: refused by their header, or upright RGB."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InvalidRequest
from pipelines.utils.images import content_hash, flatten, open_picture, png_bytes


def encoded(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 6, y * 8, x + y], axis=2).astype(np.uint8))


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge; its data would not even be that."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1000)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_lossless_pictures_come_as_they_are(format: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(gradient(), format))
    for source in (path, path.read_bytes()):
        opened = open_picture(source)
        assert opened.mode == "RGB" and np.array_equal(opened, gradient())


def test_a_camera_held_upright_gives_an_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right to see it upright
    turned = gradient().transpose(Image.Transpose.ROTATE_90)
    opened = open_picture(encoded(turned, "PNG", exif=exif))
    assert np.array_equal(opened, gradient())


def test_transparency_becomes_white_and_16_bit_grey_keeps_its_upper_bits() -> None:
    ghost = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    ghost.putpixel((1, 0), (255, 0, 0, 128))
    assert [open_picture(encoded(ghost, "PNG")).getpixel((x, 0)) for x in (0, 1)] == [
        (255, 255, 255), (255, 127, 127),
    ]  # fmt: skip
    deep = Image.fromarray(np.asarray([[0, 0x1234, 0xFFFF]], np.uint16))
    assert np.asarray(open_picture(encoded(deep, "PNG")))[0, :, 0].tolist() == [0, 0x12, 255]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([9, 8, 7])
    palette.info["transparency"] = 0
    assert flatten(palette).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000)])
def test_bombs_are_refused_by_their_header(size: tuple[int, int]) -> None:
    """Below, between and above the limits at which Pillow itself warns and refuses."""
    with pytest.raises(InvalidRequest, match=r"pixels; at most 25,165,824 are allowed"):
        open_picture(bomb(*size))


PEAK = """
import resource, sys
from pathlib import Path
from pipelines.errors import InvalidRequest
from pipelines.utils.images import open_picture
import numpy, PIL.ImageCms
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(*open_picture(Path(sys.argv[1])).size)
except InvalidRequest as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("a.png", "RGBA", "at most"), ("a.webp", "RGB", "at most"), ("a.jpg", "RGB", "4000 4000")],
)
def test_sixty_four_megapixels_in_a_small_file_cost_little(
    tmp_path: Path, name: str, mode: str, said: str
) -> None:
    file = tmp_path / name
    Image.new(mode, (8000, 8000), "red").save(file)
    assert file.stat().st_size < 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", PEAK, file], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    line, megabytes = done.stdout.splitlines()
    assert said in line and int(megabytes) < 300, done.stdout


def test_other_bad_pictures_say_what_is_wrong(tmp_path: Path) -> None:
    cut = encoded(gradient(400, 300), "PNG")[:-200]
    for source, text in [
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "damaged|Is a directory"),
        (b"<svg/>", "allowed are PNG, JPEG, WEBP, BMP"),
        (encoded(gradient(), "PCX"), "allowed are PNG, JPEG, WEBP, BMP"),
        (cut, "cut off"),
        (bomb(40, 40), "cut off"),
    ]:
        with pytest.raises(InvalidRequest, match=text):
            open_picture(source)


def test_a_limit_of_ones_own() -> None:
    assert open_picture(encoded(gradient(), "PNG"), 1200).size == (40, 30)
    with pytest.raises(InvalidRequest, match="40 × 30"):
        open_picture(encoded(gradient(), "PNG"), 1199)


def test_hashes_are_of_the_pixels() -> None:
    png, bmp = (open_picture(encoded(gradient(), format)) for format in ("PNG", "BMP"))
    assert content_hash(png) == content_hash(bmp) != content_hash(png.rotate(180))
    flat = [Image.new("RGB", size) for size in ((2, 3), (3, 2))]
    assert content_hash(flat[0]) != content_hash(flat[1])


def test_png_bytes_are_what_pillow_writes_and_open_as_they_were():
    assert png_bytes(gradient()) == encoded(gradient(), "PNG")
    assert png_bytes(gradient(), 1) == encoded(gradient(), "PNG", compress_level=1)
    assert png_bytes(gradient(), 1) != png_bytes(gradient())
    assert np.array_equal(open_picture(png_bytes(gradient())), gradient())
