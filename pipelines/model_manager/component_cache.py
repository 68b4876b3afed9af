"""Component cache with a byte budget.

Evicts what will not be needed for longest, as far as that is known, and of the rest what was used
longest ago. What is in use is never evicted.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import Cancelled, OutOfMemory
from pipelines.model_manager import component_loader
from pipelines.model_manager.component import ComponentKey, Part


@dataclass(slots=True)
class CacheEntry:
    """Cache entry: holds a component, and in `prepared` what backends made of it."""

    component: Any
    bytes: int
    name: str
    users: int = 0
    prepared: dict[Any, Any] = field(default_factory=dict)
    last_used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class CachedComponent:
    """Cached component, as a page shows it.

    Attributes:
        waiting: whether it is beside the device, and comes when it is called.
    """

    name: str
    bytes: int
    in_use: bool
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Lease of some parts: has their entries, and which were loaded, reused and evicted."""

    entries: tuple[CacheEntry, ...]
    loaded: Mapping[str, int]
    reused: tuple[str, ...]
    evicted: tuple[str, ...]


def eviction_order(
    idle: Mapping[ComponentKey, float], coming: Sequence[Collection[ComponentKey]]
) -> list[ComponentKey]:
    """Order keys for eviction: what is needed last goes first, then what is longest unused.

    Args:
        idle: key to when it was used last.
        coming: what the next uses need, the next one first.
    Source: Belady 1966, doi:10.1147/sj.52.0078, with what is known of the future.
    """

    def rank(key: ComponentKey) -> tuple[int, float]:
        needed = next((i for i, keys in enumerate(coming) if key in keys), len(coming))
        return -needed, idle[key]

    return sorted(idle, key=rank)


class ComponentCache:
    """Component cache of one memory. All methods may be called from any thread.

    Args:
        budget: bytes they may take together.
        emptied: called after evictions, to hand memory back.
        advice: what to do about what does not fit, as the end of a sentence.
    """

    def __init__(
        self,
        budget: Callable[[], int],
        emptied: Callable[[], None],
        advice: str = "raise the budget with --memory, or leave --offload at auto",
    ) -> None:
        self.coming: Sequence[Collection[ComponentKey]] = ()
        """What the next uses need, as far as it is known."""
        self._budget = budget
        self._emptied = emptied
        self._advice = advice
        self._entries: dict[ComponentKey, CacheEntry] = {}
        self._seen: tuple[CachedComponent, ...] = ()
        self._numbers = itertools.count()
        # from_pretrained is not thread-safe, and two loads at once would break the budget.
        self.lock = threading.RLock()

    def __contains__(self, key: ComponentKey) -> bool:
        return key in self._entries

    @property
    def all(self) -> tuple[CachedComponent, ...]:
        """What is in memory. Waits for no load: it is what the last change left."""
        return self._seen

    @property
    def bytes(self) -> int:
        """Bytes of all of it, measured from tensors."""
        return sum(one.bytes for one in self._seen)

    def hold(self, parts: Sequence[Part], device: str, stop: Callable[[], bool]) -> Lease:
        """Lease all parts, which then stay until `release`; loads what is missing.

        Args:
            stop: asked before each part is loaded.
        Raises: ModelUnavailable, OutOfMemory, Cancelled: parts that were loaded before that stay,
            idle, and are the first to go.
        """
        with self.lock:
            return self._hold(parts, device, stop)

    def release(self, held: Lease) -> None:
        """End a lease."""
        with self.lock:
            for entry in held.entries:
                entry.users -= 1
                entry.last_used = time.monotonic()
            self._look()

    @contextmanager
    def reserve(self, name: str, size: int) -> Iterator[None]:
        """Reserve room for bytes that are no component, such as originals of changed weights.

        Raises: OutOfMemory: if there is none.
        """
        key = ComponentKey(f"{name} {next(self._numbers)}", None, "")
        with self.lock:
            self._check_fits([(name, size)], ())
            self._make_room(size, ())
            self._entries[key] = CacheEntry(None, size, name, users=1)
            self._look()
        try:
            yield
        finally:
            with self.lock:
                del self._entries[key]
                self._look()

    def free_idle(self) -> list[str]:
        """Evict all that is not in use, and return its names."""
        with self.lock:
            evicted = [self._evict(key) for key in self._idle(())]
            if evicted:
                self._emptied()
            return evicted

    def _hold(self, parts: Sequence[Part], device: str, stop: Callable[[], bool]) -> Lease:
        # All parts of this model count as in use, loaded or not.
        keep = {part.key for part in parts}
        missing = {part.key: part for part in parts if part.key not in self._entries}
        # Before anything goes: what can never fit must not cost others their place.
        self._check_fits([(str(part.folder), part.bytes) for part in missing.values()], keep)
        held: list[CacheEntry] = []
        loaded: dict[str, int] = {}
        reused: list[str] = []
        evicted: list[str] = []
        try:
            for part in parts:
                if part.key in self._entries:
                    reused.append(part.name)
                else:
                    if stop():
                        raise Cancelled(f"loading was stopped before {part.name}")
                    evicted += self._make_room(part.bytes, keep)
                    evicted += self._load(part, device, keep)
                    loaded[part.name] = self._entries[part.key].bytes
                entry = self._entries[part.key]
                entry.users += 1
                held.append(entry)
        except BaseException:
            for entry in held:
                entry.users -= 1
            for key in missing.keys() & self._entries.keys():
                self._entries[key].last_used = float("-inf")
            self._look()
            raise
        self._look()
        return Lease(tuple(held), loaded, tuple(reused), tuple(evicted))

    def _load(self, part: Part, device: str, keep: Collection[ComponentKey]) -> list[str]:
        component = component_loader.load(part, device)
        size = component_loader.measure(component)
        # Buffers that are not in the file come on top of what was expected.
        evicted = self._make_room(size, keep)
        place = part.single.path if part.single else part.folder.parent
        name = part.name if part.single else part.folder.name
        self._entries[part.key] = CacheEntry(component, size, f"{place.name}/{name}")
        self._look()
        return evicted

    def _check_fits(
        self, wanted: Sequence[tuple[str, int]], keep: Collection[ComponentKey]
    ) -> None:
        idle = set(self._idle(keep))
        held = sum(entry.bytes for key, entry in self._entries.items() if key not in idle)
        for name, size in wanted:
            if held + size > self._budget():
                raise OutOfMemory(
                    f"{name} needs {size / 1e6:.0f} MB; the budget is "
                    f"{self._budget() / 1e6:.0f} MB and {held / 1e6:.0f} MB are in use; "
                    f"{self._advice}"
                )
            held += size

    def _make_room(self, size: int, keep: Collection[ComponentKey]) -> list[str]:
        idle = self._idle(keep)
        evicted = []
        while self.bytes + size > self._budget() and idle:
            evicted.append(self._evict(idle.pop(0)))
        if evicted:
            self._emptied()
        return evicted

    def _idle(self, keep: Collection[ComponentKey]) -> list[ComponentKey]:
        """Keys of what is not in use, in the order in which they go."""
        idle = {
            key: entry.last_used
            for key, entry in self._entries.items()
            if entry.users == 0 and key not in keep
        }
        return eviction_order(idle, self.coming)

    def _evict(self, key: ComponentKey) -> str:
        name = self._entries.pop(key).name
        self._look()
        return name

    def _look(self) -> None:
        self._seen = tuple(
            CachedComponent(entry.name, entry.bytes, entry.users > 0)
            for entry in self._entries.values()
        )
