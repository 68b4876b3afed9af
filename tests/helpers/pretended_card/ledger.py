"""Ledger of a pretended card: which storage lives where, its bytes, every copy and every wait."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PROGRAM = tuple(str(ROOT / name) for name in ("pipelines", "presets", "ui", "app.py"))
TORCH = str(Path(torch.__file__).parent)

HOST_WAITS = frozenset({"host to card", "card to host", "wait"})
"""Kinds of events for which the program stands still until the card has caught up."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a real card would have had to do or to wait for.

    Attributes:
        kind: `host to card`, `card to host` or `card to card`, each with ` (asynchronous)` where
            nobody waits; `wait`; `unsafe`: the host may read before the bytes are there.
        what: the operation.
        size: bytes.
        where: `file:line function` of the program that asked, "" outside it.
        deep: the same of whoever called torch, in a library perhaps.
    """

    kind: str
    what: str
    size: int
    where: str
    deep: str
    thread: str


@dataclass(slots=True)
class Memory:
    """Bytes of one card.

    Attributes:
        total: what it has.
        taken: of that, by other programs.
        live, peak: of tensors that are there; the most there were.
        spilled: the most that stood in main memory, under a driver that spills.
        fraction: of `total` that this process may take, as
            `torch.cuda.set_per_process_memory_fraction` sets it.
    """

    total: int
    taken: int = 0
    live: int = 0
    peak: int = 0
    spilled: int = 0
    fraction: float | None = None


@dataclass
class Ledger:
    """Ledger of all pretended cards of a kind.

    Args:
        kind: `cuda` or `mps`.
        spills: as Windows' driver does: what does not fit goes to main memory without an error,
            unless the process has set itself a fraction.
        refuse: called with the bytes of every allocation; whether it fails.
    """

    kind: str
    cards: list[Memory]
    spills: bool = False
    refuse: Callable[[int], bool] | None = None
    events: list[Event] = field(default_factory=list)
    refusals: int = 0
    allocations: int = 0
    kernels: int = 0
    pinned: int = 0
    pinned_as_torch: int = 0
    watched: bool = True
    _where: dict[int, tuple[torch.device | str, object]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def device_of(self, tensor: torch.Tensor) -> torch.device | None:
        """The card that a tensor claims to live on; None for the host."""
        place = self._place(tensor)
        return place if isinstance(place, torch.device) else None

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor stands in memory that the card reads by itself."""
        return self._place(tensor) == "pinned"

    def _place(self, tensor: torch.Tensor) -> torch.device | str | None:
        try:
            found = self._where.get(tensor.untyped_storage()._cdata)
        except (NotImplementedError, RuntimeError):  # sparse ones have no storage
            return None
        return None if found is None else found[0]

    def put(self, tensor: torch.Tensor, device: torch.device) -> None:
        """Let a tensor's storage live on a card.

        Raises: torch.OutOfMemoryError (CUDA) or RuntimeError (MPS): if it does not fit.
        """
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:
            return
        with self._lock:
            if self._place(tensor) == device:
                return
            size = storage.nbytes()
            memory = self.cards[device.index or 0]
            self._allocate(memory, size)
            self._note_place(storage, device, size, memory)

    def pin(self, tensor: torch.Tensor) -> None:
        """Let a host tensor stand in pinned memory, which torch rounds up to powers of two."""
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        with self._lock:
            self.pinned += size
            self.pinned_as_torch += power_of_two(size)
            self._note_place(storage, "pinned", size, None)

    def _note_place(
        self,
        storage: torch.UntypedStorage,
        place: torch.device | str,
        size: int,
        memory: Memory | None,
    ) -> None:
        key = storage._cdata

        def gone(_: object) -> None:
            with self._lock:
                self._where.pop(key, None)
                if memory is None:
                    self.pinned -= size
                    self.pinned_as_torch -= power_of_two(size)
                else:
                    memory.live -= size

        self._where[key] = (place, weakref.ref(storage, gone))

    def _allocate(self, memory: Memory, size: int) -> None:
        self.allocations += 1
        limit = memory.total - memory.taken
        if memory.fraction is not None:
            limit = min(limit, int(memory.total * memory.fraction))
        over = memory.live + size - limit
        may_spill = self.spills and memory.fraction is None
        refused = self.refuse is not None and self.refuse(size)
        if refused or (over > 0 and not may_spill):
            self.refusals += 1
            raise self._out_of_memory(memory, size)
        memory.live += size
        memory.peak = max(memory.peak, memory.live)
        memory.spilled = max(memory.spilled, over)

    def _out_of_memory(self, memory: Memory, size: int) -> Exception:
        if self.kind == "mps":
            return RuntimeError(
                f"MPS backend out of memory (MPS allocated: {memory.live} bytes, max allowed: "
                f"{memory.total} bytes). Tried to allocate {size} bytes on private pool."
            )
        return torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate {size} bytes ({memory.live} are in use)."
        )

    def copied(
        self,
        tensor: torch.Tensor,
        source: torch.device | None,
        goal: torch.device | None,
        non_blocking: bool,
        what: str,
    ) -> None:
        """Note a copy between two places. Only pinned memory is read while the host goes on."""
        kind = "card to card" if source and goal else "host to card" if goal else "card to host"
        asynchronous = non_blocking and (source is not None or self.is_pinned(tensor))
        if source and goal:
            asynchronous = True
        shape = f"{what} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        self.note(kind + (" (asynchronous)" if asynchronous else ""), shape, tensor.nbytes)
        if goal is None and asynchronous:
            self.note("unsafe", f"{shape}: read before it is there?", tensor.nbytes)

    def note(self, kind: str, what: str, size: int = 0) -> None:
        """Note an event with the places in the code that it comes from."""
        if not self.watched:
            return
        where, deep = _callers(sys._getframe(1))
        thread = threading.current_thread().name
        self.events.append(Event(kind, what, size, where, deep, thread))


def power_of_two(size: int) -> int:
    """What torch's pinned memory takes for so many bytes."""
    return 0 if size == 0 else 1 << (size - 1).bit_length()


def _callers(frame: FrameType | None) -> tuple[str, str]:
    """The program's innermost caller, and anybody's."""
    where = deep = ""
    while frame is not None and not where:
        file = frame.f_code.co_filename
        if not (file.startswith((str(HERE), TORCH, "<"))):
            line = f"{_short(file)}:{frame.f_lineno} {frame.f_code.co_name}"
            deep = deep or line
            if file.startswith(PROGRAM):
                where = line
        frame = frame.f_back
    return where, deep


def _short(file: str) -> str:
    if file.startswith(str(ROOT)) and "site-packages" not in file:
        return file[len(str(ROOT)) + 1 :]
    return file.rpartition("site-packages/")[2]
