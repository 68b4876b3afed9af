"""What says that a disk takes nothing more, on real disks of our own and by the kernel's limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.denoising.batch_sizes import Sample
from pipelines.rendering.disk_errors import PROBE_BYTES, is_disk_full
from pipelines.rendering.timings.batch_timings import BatchTimings
from tests.helpers.disks import full_files

ROOT = Path(__file__).parents[3]
ASK = """
import sys
from pathlib import Path
from pipelines.rendering.disk_errors import is_disk_full
print(*(is_disk_full(Path(sys.argv[1]), int(size)) for size in sys.argv[2:]))
"""


def asked_on_a_disk(tmp_path: Path, options: str, then: str, *sizes: int) -> list[str]:
    """What is said of a disk that a namespace of its own has."""
    script = (
        f'mount -t tmpfs -o {options} tmpfs "$1" && {then} && '
        'exec "$2" -c "$3" "$1" ' + " ".join(map(str, sizes))
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, ASK],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no disks of our own here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_small_disk_is_full_for_large_pictures_only(tmp_path: Path) -> None:
    sizes = (1, 4 * 2**20)
    assert asked_on_a_disk(tmp_path, "size=1m", "true", *sizes) == ["False", "True"]


def test_a_disk_with_room_for_a_line_of_text_is_full(tmp_path: Path) -> None:
    assert asked_on_a_disk(tmp_path, "size=64k", "true", 1) == ["True"]


def test_a_disk_that_may_only_be_read_is_full(tmp_path: Path) -> None:
    read_only = 'mount -o remount,ro tmpfs "$1"'
    assert asked_on_a_disk(tmp_path, "size=8m", read_only, 1) == ["True"]


def test_files_that_may_not_grow_are_a_full_disk(tmp_path: Path) -> None:
    assert not is_disk_full(tmp_path)
    with full_files(PROBE_BYTES - 1):
        assert is_disk_full(tmp_path)
    with full_files(PROBE_BYTES + 100):
        assert not is_disk_full(tmp_path)
        assert is_disk_full(tmp_path, PROBE_BYTES + 101)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_no_full_disk(tmp_path: Path) -> None:
    assert not is_disk_full(tmp_path / "gone")


def test_timings_that_find_no_room_are_known_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "batches.json"
    timings = BatchTimings(file)
    timings.put("a", {1: Sample(3, 0.5)})
    before = file.read_text("utf-8")
    with full_files(10):
        timings.put("a", {2: Sample(3, 0.25)})
    assert timings.get("a") == {2: Sample(3, 0.25)}
    assert "batch sizes are not remembered" in caplog.text
    assert file.read_text("utf-8") == before and [file] == list(tmp_path.iterdir())
