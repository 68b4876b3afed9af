"""Pictures that a run holds in memory: the newest, within a budget; the others lie in files."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from PIL import Image

from pipelines import Axis, Request, Sheet, StorageUnavailable
from pipelines.runs import held_picture
from pipelines.runs.events import CellDone, CellPreview, RunFinished, Stats
from pipelines.runs.held_picture import HeldPicture, HeldPictures
from pipelines.runs.run import Run

SHEET = Sheet(base=Request(), axes=(Axis(field="seed", values=tuple(range(10))),))


def noise(side: int = 64) -> Image.Image:
    return Image.effect_noise((side, side), 60).convert("RGB")


def saved(folder: Path, name: str) -> tuple[Image.Image, Path]:
    image = noise()
    image.save(folder / name)
    return image, folder / name


def finished(folder: Path, films: frozenset[int] = frozenset()) -> tuple[Run, list[bytes]]:
    """A run of ten cells with previews, each with a file, and the pixels of its pictures."""
    run, pixels = Run(SHEET, SHEET.expand(), filmed=films), []
    for cell, request in enumerate(run.requests):
        run.publish(CellPreview(run.id, cell, 1, noise()))
        image, file = saved(folder, f"{cell}.png")
        pixels.append(image.tobytes())
        run.publish(CellDone(run.id, cell, request, image, file, 1.0, cached=False))
    run.publish(RunFinished(run.id, "done", Stats()))
    gc.collect()
    return run, pixels


def test_what_is_let_go_is_read_again_and_not_kept(tmp_path: Path) -> None:
    image, file = saved(tmp_path, "a.png")
    pixels, picture = image.tobytes(), HeldPicture(image, file)
    picture.let_go()
    assert picture.held is image, "as long as someone else holds it"
    del image
    gc.collect()
    assert picture.held is None
    again = picture.image
    assert again is not None and again.tobytes() == pixels and picture.image is again
    del again
    gc.collect()
    assert picture.held is None
    file.unlink()
    assert picture.image is None


def test_a_picture_without_a_file_stays() -> None:
    picture = HeldPicture(noise())
    held = HeldPictures(most=1)
    held.add(picture)
    held.add(HeldPicture(noise()))
    picture.let_go()
    gc.collect()
    assert picture.held is not None


def test_a_run_holds_the_newest_pictures_and_shows_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_picture, "HELD_BYTES", 3 * 64 * 64 * 3)
    run, pixels = finished(tmp_path)
    assert run.picture_bytes == 3 * 64 * 64 * 3
    done = [event.image.tobytes() for event in run.events() if isinstance(event, CellDone)]
    assert done == pixels
    shown = [cell.image.tobytes() for cell in run.snapshot().cells if cell.image is not None]
    assert shown == pixels
    gc.collect()
    assert run.picture_bytes == 3 * 64 * 64 * 3, "what was read again is not kept"


def test_a_finished_picture_replaces_its_preview_but_not_a_film(tmp_path: Path) -> None:
    run, _ = finished(tmp_path, films=frozenset({4}))
    previews = [event.cell for event in run.events() if isinstance(event, CellPreview)]
    assert previews == [4] and list(run.film(4)) == [1]


def test_a_picture_that_is_gone_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_picture, "HELD_BYTES", 1)
    run, _ = finished(tmp_path)
    (tmp_path / "0.png").unlink()
    assert run.snapshot().cells[0].image is None and run.snapshot().cells[1].image is not None
    with pytest.raises(StorageUnavailable, match=r"0\.png is gone; run it again"):
        list(run.events())
