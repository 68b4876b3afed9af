"""A sheet whose process is killed: nothing finished is lost, nothing is made twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

import app
from pipelines import Request, Studio
from pipelines.runs.png_metadata import read_request

STEPS = (20, 100, 200, 300, 400, 500)
COMMAND = [
    "sheet", "an apple", "--model", "tiny", "--sampler", "ddim", "--device", "cpu", "--exact",
    "--axis", f"steps={','.join(map(str, STEPS))}",
]  # fmt: skip


def start(models: Path, folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own; one thread, so that every machine adds alike."""
    places = ["--models", models, "--out", folder / "sheet", "--outputs", folder / "outputs"]
    return subprocess.Popen(
        [sys.executable, Path(app.__file__), *COMMAND, *places],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finished(folder: Path) -> list[Path]:
    return sorted((folder / "outputs" / "pictures").glob("*/*.png"))


def test_a_killed_sheet_goes_on_where_it_was(
    models: Path, tmp_path: Path, one_thread: None
) -> None:
    for wanted in (1, 3):
        process = start(models, tmp_path)
        until = time.monotonic() + 90
        while len(finished(tmp_path)) < wanted and process.poll() is None:
            assert time.monotonic() < until, "no picture was finished"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in finished(tmp_path):
            with Image.open(path) as picture:
                assert read_request(picture) is not None, "only whole pictures are there"
    before = {path: path.stat().st_mtime_ns for path in finished(tmp_path)}
    assert start(models, tmp_path).wait(120) == 0
    contents = json.loads((tmp_path / "sheet" / "sheet.json").read_text())
    assert sum(cell["cached"] for cell in contents["cells"]) == len(before) >= 3
    assert contents["stats"]["cells_cached"] == len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "made once"
    assert len(finished(tmp_path)) == len(STEPS)
    studio = Studio(models, device="cpu", exact=True)
    for cell in contents["cells"]:
        with Image.open(tmp_path / "sheet" / cell["file"]) as picture:
            whole = studio.image(Request(**cell["request"]))
            assert picture.tobytes() == whole.tobytes(), "as if never interrupted"
    studio.close()
