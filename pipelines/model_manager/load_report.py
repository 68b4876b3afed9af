"""Load report: says what one use of a model loaded, reused and evicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Report of one `PipelineManager.use`; its text is the manager's log line.

    Attributes:
        loaded: bytes of what was read from disk, by name.
        waiting: what comes to the device only when it is called.
    """

    model: str
    loaded: Mapping[str, int]
    reused: tuple[str, ...]
    evicted: tuple[str, ...]
    seconds: float
    waiting: tuple[str, ...] = ()

    def __str__(self) -> str:
        loaded = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.loaded.items())
        waiting = f"; beside the device {', '.join(self.waiting)}" if self.waiting else ""
        return (
            f"{self.model}: loaded {loaded or 'nothing'}; "
            f"reused {', '.join(self.reused) or 'nothing'}; "
            f"evicted {', '.join(self.evicted) or 'nothing'}{waiting}; {self.seconds:.2f} s"
        )
