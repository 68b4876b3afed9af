"""Twenty SIGKILLs at random moments of one sheet: nothing finished is lost or made twice.

Every process is forked from a server that has the libraries loaded, so that each is at work within
a fraction of a second and the kills fall all over the sheet.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipelines import Axis, Request, Sheet, Studio
from pipelines.runs.events import CellDone
from pipelines.runs.png_metadata import read_request

KILLS = 20
SHEET = Sheet(
    base=Request(model="tiny", prompt="an apple", sampler="ddim"),
    # All of different length, so that they finish one by one.
    axes=(Axis(field="steps", values=tuple(range(15, 195, 3))),),
)


def make(models: Path, outputs: Path, book: Path) -> None:
    """The sheet, in a process of its own; each finished cell is written down as it is told."""
    import torch

    torch.set_num_threads(1)
    studio = Studio(models, outputs, device="cpu", exact=True)
    with book.open("a", buffering=1) as lines:
        for event in studio.run(SHEET):
            match event:
                case CellDone(cell=cell, cached=cached):
                    lines.write(f"{'cached' if cached else 'made'} {cell}\n")
                case _ if lines.tell() == 0:
                    lines.write("begun\n")
    studio.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[multiprocessing.context.BaseContext]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pipelines.rendering.renderer", "diffusers", "tests.robustness.test_kills"]
    )
    yield context


def begun(book: Path) -> bool:
    """Whether a process has got to its sheet."""
    return book.exists() and book.stat().st_size > 0


def notes(book: Path) -> list[list[str]]:
    """What a process has written down: `made` and `cached` cells."""
    lines = book.read_text().splitlines(keepends=True) if book.exists() else []
    return [line.split() for line in lines if line.endswith("\n") and line != "begun\n"]


def stamps(outputs: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (outputs / "pictures").glob("*/*.png")}


def test_twenty_kills_lose_nothing_and_repeat_nothing(
    models: Path, tmp_path: Path, server: multiprocessing.context.BaseContext, one_thread: None
) -> None:
    rng = random.Random(0)
    outputs, cells = tmp_path / "outputs", len(SHEET.indices())
    made: list[int] = []
    seen: dict[Path, int] = {}
    landed = []
    for kill in range(KILLS):
        book = tmp_path / f"book-{kill}"
        process = server.Process(target=make, args=(models, outputs, book))  # type: ignore[attr-defined]
        process.start()
        # After some of its cells, not all: the twentieth kill must still meet an unfinished sheet.
        wanted, until = rng.choice((0, 1, 1, 2, 3)), time.monotonic() + 60
        while not begun(book) or sum(kind == "made" for kind, _ in notes(book)) < wanted:
            assert time.monotonic() < until and process.is_alive(), "it never came so far"
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        alive = process.is_alive()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = notes(book)
        now = [int(cell) for kind, cell in found if kind == "made"]
        assert not set(now) & set(made), "none made twice"
        made += now
        kept = stamps(outputs)
        assert {path: kept.get(path) for path in seen} == seen, "none lost, none made again"
        for path in kept.keys() - seen.keys():
            with Image.open(path) as picture:
                assert read_request(picture) is not None, "only whole pictures are there"
        landed.append(len(kept) if alive else -1)
        seen = kept
    assert sum(0 < count < cells for count in landed) >= KILLS // 2, f"badly spread: {landed}"

    last = server.Process(target=make, args=(models, outputs, tmp_path / "last"))  # type: ignore[attr-defined]
    last.start()
    last.join(120)
    assert last.exitcode == 0
    found = notes(tmp_path / "last")
    assert len(found) == cells and sum(kind == "cached" for kind, _ in found) == len(seen)
    kept = stamps(outputs)
    assert len(kept) == cells and {path: kept[path] for path in seen} == seen

    whole = Studio(models, tmp_path / "whole", device="cpu", exact=True)
    for event in whole.run(SHEET):
        if isinstance(event, CellDone):
            assert event.file is not None
            twin = outputs / event.file.relative_to(tmp_path / "whole")
            with Image.open(twin) as picture:
                assert picture.tobytes() == event.image.tobytes(), "as if never interrupted"
    whole.close()
