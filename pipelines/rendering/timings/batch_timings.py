"""Batch timings: remembers how long batches took, by model, picture size and device."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pipelines.denoising.batch_sizes import (
    Sample,
    Samples,
)
from pipelines.utils.files import drafts

log = logging.getLogger(__name__)


class BatchTimings:
    """Store of batch timings by key, in one JSON file; without a file, in memory only.

    Losing the file costs one round of measuring, so what is wrong with it is logged, not raised.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._all: dict[str, dict[int, Sample]] = {} if file is None else _read(file)

    def get(self, key: str) -> dict[int, Sample]:
        """Timings by batch size; none where nothing is known."""
        with self._lock:
            return dict(self._all.get(key, {}))

    def put(self, key: str, samples: Samples) -> None:
        """Remember, also on disk. Other processes' entries stay as they last wrote them."""
        with self._lock:
            if self._all.get(key) == samples:
                return
            if self._file is not None:
                self._all = {**self._all, **_read(self._file)}
            self._all[key] = dict(samples)
            if self._file is not None:
                _write(self._file, self._all)


def _read(file: Path) -> dict[str, dict[int, Sample]]:
    try:
        entries = json.loads(file.read_text("utf-8"))
        return {
            str(key): {
                int(size): Sample(int(one["calls"]), float(one["seconds"]))
                for size, one in sizes.items()
            }
            for key, sizes in entries.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s cannot be read and is made anew: %r", file, error)
        return {}


def _write(file: Path, entries: Mapping[str, Samples]) -> None:
    text = json.dumps(
        {key: {size: asdict(one) for size, one in sizes.items()} for key, sizes in entries.items()},
        indent=1,
    )
    try:
        with drafts(file) as (draft,):
            draft.write_text(text + "\n", "utf-8")
    except OSError as error:
        log.warning("batch sizes are not remembered: %s cannot be written: %s", file, error)
