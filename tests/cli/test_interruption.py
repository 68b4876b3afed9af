"""Ctrl+C and SIGTERM at any moment: a quiet end, with what is finished written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

import app

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
NOISE = ("Traceback", "terminate", "Aborted", "Interrupt", "Exception", "Cancel")
PLACES = ("import", "loading", "first", "some", "some", "some")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes a test starts; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(processes: list[subprocess.Popen[str]], *words: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(app.__file__).parent)},
    )  # fmt: skip
    processes.append(process)
    return process


def command(models: Path, folder: Path, axis: str = "steps=20,60,100,140,180,220") -> list[object]:
    return [
        app.__file__, "sheet", "an apple", "--model", "tiny", "--sampler", "ddim", "--device",
        "cpu", "--axis", axis, "--models", models, "--out", folder / "sheet",
        "--outputs", folder / "outputs",
    ]  # fmt: skip


def made(folder: Path) -> list[Path]:
    return list((folder / "sheet" / "cells").glob("[!.]*.png"))


def reach(process: subprocess.Popen[str], folder: Path, place: str, rng: random.Random) -> None:
    """Wait for a moment in a sheet's life, and then a little."""
    until = time.monotonic() + 90
    wanted = {"import": -1, "loading": 0, "first": 0}.get(place, rng.randint(1, 4))
    while wanted >= 0 and process.poll() is None:
        there = (folder / "outputs" / "contact-sheet.sqlite").exists()
        if there and len(made(folder)) >= wanted:
            break
        assert time.monotonic() < until, "it never came so far"
        time.sleep(0.005)
    time.sleep(rng.uniform(0.3, 1.5) if place in ("import", "first") else rng.uniform(0.0, 0.1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sheet_ends_quietly_whenever_it_is_told_to(
    models: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    rng = random.Random(int(number))
    landed = []
    for attempt, place in enumerate(PLACES):
        folder = tmp_path / str(attempt)
        process = start(processes, *command(models, folder))
        reach(process, folder, place, rng)
        over = process.poll() is not None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        where = f"{attempt} {place}: {errors}"
        assert process.returncode == (0 if over else STATUS[number]), where
        assert not any(word in errors for word in NOISE), where
        check_written(folder)
        landed.append(0 if over else len(made(folder)))
    assert sum(0 < count < 6 for count in landed) >= 2, f"badly spread: {landed}"


def check_written(folder: Path) -> None:
    """What is finished is in the folder whole: cells, grid and JSON; no draft is left."""
    assert not list(folder.rglob("*.part")), "no draft is left"
    cells = made(folder)
    record = folder / "sheet" / "sheet.json"
    assert record.exists() == bool(cells)
    if cells:
        told = json.loads(record.read_text("utf-8"))["cells"]
        assert {folder / "sheet" / cell["file"] for cell in told} == set(cells)
        for path in (*cells, folder / "sheet" / "sheet.png"):
            with Image.open(path) as picture:
                picture.load()


def test_the_second_ctrl_c_ends_it_at_once(
    models: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    process = start(processes, *command(models, tmp_path, "steps=900,950"))
    reach(process, tmp_path, "loading", random.Random(0))
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors and "terminate" not in errors


def test_one_picture_is_not_written_when_it_is_stopped(
    models: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    out = tmp_path / "one.png"
    process = start(
        processes, app.__file__, "generate", "an apple", "--model", "tiny", "--steps", 900,
        "--sampler", "ddim", "--models", models, "--out", out,
    )  # fmt: skip
    time.sleep(6.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and "terminate" not in errors and not out.exists()


UNCLOSED = """
import sys
from pipelines import Request, Sheet, Studio
studio = Studio(sys.argv[1], device="cpu")
run = studio.submit(Sheet(base=Request(model="tiny", prompt="x", sampler="ddim", steps=900)))
for number, event in enumerate(run.events()):
    if number == int(sys.argv[2]):
        print("here", flush=True)
        break
"""


@pytest.mark.parametrize("events", [0, 1, 40])
def test_a_program_that_closes_nothing_ends_in_order(
    models: Path, processes: list[subprocess.Popen[str]], events: int
) -> None:
    process = start(processes, "-c", UNCLOSED, models, events)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "here\n"), errors
    assert "terminate" not in errors and "Traceback" not in errors


def test_a_program_of_its_own_ends_by_ctrl_c(
    models: Path, processes: list[subprocess.Popen[str]]
) -> None:
    process = start(processes, "-c", UNCLOSED, models, -1)
    time.sleep(8.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and "terminate" not in errors, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_the_server_ends_quietly_with_a_connection_open(
    models: Path,
    tmp_path: Path,
    processes: list[subprocess.Popen[str]],
    number: signal.Signals,
    seconds: float,
) -> None:
    process = start(
        processes, app.__file__, "serve", "--port", 0, "--models", models,
        "--outputs", tmp_path / "outputs",
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    with httpx.Client() as client, client.stream("GET", f"{url}/gradio_api/heartbeat/abc") as page:
        assert page.status_code == 200
        time.sleep(seconds)  # at first it still loads what the first run needs
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == STATUS[number], errors
    assert not any(word in errors for word in NOISE), errors
