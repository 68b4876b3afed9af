"""Cache of control maps in memory, keyed by what decides them."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

Key = tuple[str, str, str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Statistics of a cache since it was made.

    Attributes:
        runs: how often a preprocessor ran.
        hits: how often a map was there already.
        bytes: what the kept maps take.
    """

    runs: int
    hits: int
    bytes: int


def key_of(picture: str, name: str, parameters: Mapping[str, Any], size: tuple[int, int]) -> Key:
    """Build the key of a map: equal for equal pictures, parameters and sizes.

    Args:
        picture: hash of its pixels.
    """
    return picture, name, json.dumps(parameters, sort_keys=True), size


class MapCache:
    """Least-recently-used cache of maps within a byte budget; any thread may ask.

    Detectors keep state while they run, so one runs at a time; what is there never waits for it.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._maps: OrderedDict[Key, Image] = OrderedDict()
        self._stats = CacheStats(0, 0, 0)
        self._lock = threading.Lock()
        self._running = threading.Lock()

    def get(self, key: Key, make: Callable[[], Image]) -> Image:
        """Look up the map of this key, making it if it is not there; the caller may change it."""
        found = self._look(key)
        if found is None:
            with self._running:
                # Another thread may have made it while this one waited.
                found = self._look(key)
                if found is None:
                    found = make()
                    self._keep(key, found)
        return found.copy()

    def stats(self) -> CacheStats:
        """Count runs, hits and bytes so far."""
        with self._lock:
            return self._stats

    def _look(self, key: Key) -> Image | None:
        with self._lock:
            found = self._maps.get(key)
            if found is not None:
                self._maps.move_to_end(key)
                stats = self._stats
                self._stats = CacheStats(stats.runs, stats.hits + 1, stats.bytes)
            return found

    def _keep(self, key: Key, made: Image) -> None:
        with self._lock:
            held = self._stats.bytes
            if _bytes(made) <= self.bytes_max:
                self._maps[key] = made.copy()
                held += _bytes(made)
            while held > self.bytes_max:
                held -= _bytes(self._maps.popitem(last=False)[1])
            self._stats = CacheStats(self._stats.runs + 1, self._stats.hits, held)


def _bytes(picture: Image) -> int:
    return picture.width * picture.height * len(picture.getbands())
