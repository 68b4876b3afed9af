"""Pictures that users bring: what is refused before it is decoded, and that nothing is lost."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import Control, InvalidRequest, Studio, UnknownName
from pipelines.controlnet.control_maps import Maps
from pipelines.preprocessors import cache_stats
from pipelines.runs.image_store import ImageStore
from pipelines.utils.images import content_hash, open_picture

NOISE = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)
PICTURE = Image.fromarray(NOISE)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large. It holds no pixels: decoding it could not succeed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_the_same_pixels_have_one_name_and_come_back(tmp_path: Path, kept: str) -> None:
    shelf = ImageStore(tmp_path / "sources" if kept == "disk" else None)
    (tmp_path / "a.png").write_bytes(encoded(PICTURE))
    name = shelf.add(PICTURE)
    assert len(name) == 32 and name == content_hash(PICTURE)
    for other in (tmp_path / "a.png", str(tmp_path / "a.png"), encoded(PICTURE, "BMP")):
        assert shelf.add(other) == name
    assert np.array_equal(np.asarray(shelf.get(name)), NOISE)
    assert shelf.add(PICTURE.transpose(Image.Transpose.ROTATE_90)) != name
    files = list((tmp_path / "sources").rglob("*.*"))
    assert len(files) == (2 if kept == "disk" else 0)
    assert all(file.suffix == ".png" for file in files)


def test_pictures_outlive_the_studio(models: Path, tmp_path: Path) -> None:
    first = Studio(models, tmp_path, device="cpu")
    name = first.add_picture(PICTURE)
    first.close()
    second = Studio(models, tmp_path, device="cpu")
    assert np.array_equal(np.asarray(second.picture(name)), NOISE)
    assert list(tmp_path.rglob(f"{name}.png")) == [tmp_path / "sources" / name[:2] / f"{name}.png"]
    second.close()


@pytest.mark.parametrize("damage", [b"", b"text", encoded(Image.new("RGB", (16, 24)))])
def test_a_damaged_file_is_not_handed_out(tmp_path: Path, damage: bytes) -> None:
    shelf = ImageStore(tmp_path)
    name = shelf.add(PICTURE)
    (file,) = tmp_path.rglob("*.png")
    file.write_bytes(damage)
    with pytest.raises(UnknownName, match=f"picture {name[:12]}… is not here; add it first"):
        shelf.get(name)


def test_upright_and_over_white() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    assert open_picture(encoded(PICTURE, "PNG", exif=exif)).size == (24, 16)
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_picture(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(encoded(Image.new("L", (4, 4), 7))).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (bomb(20000, 20000), "the picture has too many pixels"),
        (bomb(9000, 9000), "the picture has 9000 × 9000 pixels; at most 25,165,824 are allowed"),
        (b"", "is no picture that can be read"),
        (b"GIF89a", "is no picture that can be read"),
        (encoded(PICTURE)[:200], "is damaged or cut off"),
        ("nothing.png", "nothing.png does not exist"),
        ("/", "is damaged or cut off"),
        ("x" * 5000, "is damaged or cut off"),
        ("a\0b", "is damaged or cut off"),
        (3, "int is no picture"),
        (None, "NoneType is no picture"),
        (NOISE, "ndarray is no picture"),
    ],
    ids=lambda v: str(v)[:20],
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_what_is_no_picture_is_refused(source: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        ImageStore().add(source)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_maps_are_of_the_size_asked_for_and_made_once(tmp_path: Path) -> None:
    shelf = ImageStore(tmp_path)
    control = Control(image=shelf.add(Image.fromarray(255 - NOISE)))
    maps, before = Maps(shelf), cache_stats().runs
    assert np.array_equal(np.asarray(maps.of(control, (16, 24))), 255 - NOISE), "it is the map"
    next(tmp_path.rglob("*.png")).unlink()
    again = maps.of(control.replace(strength=0.5), (16, 24))
    assert np.array_equal(np.asarray(again), 255 - NOISE), "the picture is not looked at again"
    assert cache_stats().runs == before + 1
    with pytest.raises(UnknownName, match="is not here"):
        maps.of(control, (8, 12))


def test_a_picture_of_another_size_is_resized_not_cut_apart() -> None:
    """A gradient keeps its course at half the size."""
    ramp = np.repeat(np.arange(0, 256, 4, np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    shelf = ImageStore()
    small = Maps(shelf).of(Control(image=shelf.add(Image.fromarray(ramp))), (32, 32))
    wanted = (ramp[::2, ::2].astype(int) + ramp[1::2, 1::2]) / 2
    assert np.abs(np.asarray(small) - wanted)[:, 2:-2].max() <= 2


@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_a_text_stays_with_its_picture(tmp_path: Path, kept: str) -> None:
    folder = tmp_path / "sources" if kept == "disk" else None
    shelf = ImageStore(folder)
    name = shelf.add(PICTURE)
    assert shelf.annotation(name) is None
    shelf.annotate(name, "from a pose")
    shelf.annotate(name, "from edges – drawn")
    assert (shelf if folder is None else ImageStore(folder)).annotation(
        name
    ) == "from edges – drawn"
    assert np.array_equal(np.asarray(shelf.get(name)), NOISE)
    with pytest.raises(UnknownName, match="is not here"):
        shelf.annotate("0" * 32, "of no picture")
    # A name is a hash, never a way to another file.
    (tmp_path / "secret.json").write_text("secret", "utf-8")
    assert shelf.annotation("../../secret") is None


def test_a_name_leads_to_nothing_outside_the_folder(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "kept")
    store.add(PICTURE)
    other = tmp_path / "other.png"
    PICTURE.save(other)
    outside = str(other.with_suffix(""))
    names = (
        outside,
        f"ab/../../../{outside}",
        "../other",
        "ab/../../other",
        "a\0b",
        "x" * 5000,
        "",
    )
    for name in names:
        assert not store.has(name)
        assert store.annotation(name) is None
        with pytest.raises(UnknownName, match="is not here"):
            store.get(name)
        with pytest.raises(UnknownName, match="is not here"):
            store.annotate(name, "text")
    assert not other.with_suffix(".json").exists()
