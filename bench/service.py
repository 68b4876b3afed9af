"""Measures a service under use: waiting for others, and the memory of old runs.

    python -m bench.service [--only waiting|stop|thumbnails|picture|sheet|locked]

Each line is one figure of this machine. Nothing is kept.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pipelines import Axis, Busy, Request, Sheet, Studio
from pipelines.runs.events import RunFinished, RunNotice, Stats
from pipelines.runs.run import Run

HERE = Path(__file__).parents[1]
MODELS = HERE / "models"
BASE = Request(model="emoji", prompt="a red apple", steps=20)
LARGE = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(200))),))


def resident(process: int | str = "self") -> float:
    """Megabytes that a process has in memory now."""
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def under_way(studio: Studio) -> Iterator[Run]:
    """A sheet of 200 cells that is being denoised, and stopped at the end."""
    run = studio.submit(LARGE)
    while run.snapshot().evaluations < 40:
        time.sleep(0.05)
    yield run
    run.stop()
    list(run.events())


def waiting() -> None:
    """One picture alone, and behind a sheet of 200 cells."""
    studio = Studio(MODELS, device="cpu")
    studio.image(BASE.replace(seed=1000))
    started = time.perf_counter()
    studio.image(BASE.replace(seed=1001))
    print(f"one picture alone: {time.perf_counter() - started:.2f} s")
    with under_way(studio) as run:
        started = time.perf_counter()
        studio.image(BASE.replace(seed=1002))
        seconds = time.perf_counter() - started
        done = sum(cell.status == "done" for cell in run.snapshot().cells)
    print(f"one picture behind 200 cells, {done} of them done by then: {seconds:.2f} s")
    studio.close()


def stop() -> None:
    """Stop of a run that waits, of one under way, and one run more than may wait."""
    studio = Studio(MODELS, device="cpu", queue_limit=100)
    with under_way(studio):
        waits = studio.submit(LARGE)
        started = time.perf_counter()
        waits.stop()
        while not waits.snapshot().finished:
            time.sleep(0.001)
        print(f"a second run's stop: {1000 * (time.perf_counter() - started):.0f} ms")
        many, started = 0, time.perf_counter()
        try:
            while many < 1000:
                studio.submit(LARGE)
                many += 1
        except Busy as error:
            print(f"after {many} more runs of 200 cells: {error}")
        for run in studio.runs:
            run.stop()
    started = time.perf_counter()
    studio.close()
    print(f"close: {time.perf_counter() - started:.2f} s")


def thumbnails() -> None:
    """The process that serves, before and after the pictures of 1,000 old runs were asked for."""
    from PIL import Image

    from pipelines.runs.store import Store

    with tempfile.TemporaryDirectory() as name:
        store, sheet = Store(Path(name)), Sheet(base=BASE.replace(width=1024, height=1024))
        image = Image.effect_noise((1024, 1024), 60).convert("RGB")
        for number in range(1000):
            address = f"{number % 256:02x}{number:030x}"
            store.begin(f"run{number}", sheet, sheet.expand())
            if number == 0:
                first = store.save_picture(address, image, sheet.base)
            else:
                store.path(address).parent.mkdir(parents=True, exist_ok=True)
                os.link(first, store.path(address))
            store.cell_done(f"run{number}", 0, address=address, seconds=1.0, cached=False)
            store.end(f"run{number}", "done", Stats(cells=1), None)
        store.close()
        words = ["app.py", "serve", "--port", "0", "--outputs", name, "--device", "cpu"]
        process = subprocess.Popen(
            [sys.executable, *words], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://[\d.:]+", line):
                    break
            else:
                raise SystemExit("the server did not start")
            urllib.request.urlopen(found[0], timeout=60).read()
            time.sleep(5)
            before = resident(process.pid)
            started = time.perf_counter()
            for number in range(1000):
                urllib.request.urlopen(f"{found[0]}/pictures/run{number}/0.png", timeout=60).read()
            seconds = time.perf_counter() - started
            print(
                f"1,000 pictures of 1024² of old runs in {seconds:.1f} s: "
                f"{before:.0f} → {resident(process.pid):.0f} MB"
            )
        finally:
            process.terminate()
            process.wait(60)


def picture() -> None:
    """A PNG of 64 megapixels in few bytes, as someone may send it."""
    from io import BytesIO

    from PIL import Image

    from pipelines import InvalidRequest
    from pipelines.runs.image_store import ImageStore

    buffer = BytesIO()
    Image.new("L", (8000, 8000)).save(buffer, "PNG")
    content, before = buffer.getvalue(), resident()
    peak = Path("/proc/self/clear_refs")
    peak.write_text("5")  # the peak starts again from what there is now
    try:
        ImageStore().add(content)
    except InvalidRequest as error:
        print(error)
    status = Path("/proc/self/status").read_text("utf-8")
    most = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(
        f"a PNG of 64 megapixels in {len(content) / 1000:.0f} KB: {most - before:+.0f} MB at most"
    )


def sheet() -> None:
    """A run of 400 cells of 1024² whose pictures are in the store: how much it holds."""
    from PIL import Image

    from pipelines.runs.events import CellDone
    from pipelines.runs.store import Store

    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name))
        base = BASE.replace(width=1024, height=1024)
        large = Sheet(base=base, axes=(Axis(field="seed", values=tuple(range(400))),))
        run, before = Run(large, large.expand()), resident()
        for cell, request in enumerate(run.requests):
            image = Image.new("RGB", (1024, 1024), (cell % 256, 0, 0))
            file = store.save_picture(f"{cell:032x}", image, request)
            run.publish(CellDone(run.id, cell, request, image, file, 1.0, False))
        run.publish(RunFinished(run.id, "done", Stats(cells=400)))
        held = resident() - before
        print(f"a run of 400 cells of 1024²: {held:+.0f} MB, by its own count "
              f"{run.picture_bytes / 2**20:.0f}")  # fmt: skip
        for event in run.events():
            del event
        print(f"after all its events were read once more: {resident() - before:+.0f} MB")
        store.close()


LOCKER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(45)
"""


def locked() -> None:
    """A run while another process has the database locked for 45 s."""
    with tempfile.TemporaryDirectory() as name:
        studio = Studio(MODELS, name, device="cpu")
        studio.image(BASE.replace(seed=1000))
        words = [sys.executable, "-c", LOCKER, f"{name}/contact-sheet.sqlite"]
        other = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        other.stdout.readline()
        started = time.perf_counter()
        run = studio.submit(Sheet(base=BASE.replace(seed=1001)))
        for event in run.events():
            if isinstance(event, RunNotice | RunFinished):
                print(f"{time.perf_counter() - started:5.1f} s: {event}")
        other.wait()
        print(f"recorded: {[one.status for one in studio.recent(2)]}")
        studio.close()


PARTS: dict[str, Callable[[], None]] = {
    "waiting": waiting, "stop": stop, "thumbnails": thumbnails, "picture": picture, "sheet": sheet,
    "locked": locked,
}  # fmt: skip


def main(only: Annotated[str, typer.Option(help=", ".join(PARTS))] = "") -> None:
    """Measure."""
    for name, part in PARTS.items():
        if only in ("", name):
            part()


if __name__ == "__main__":
    typer.run(main)
