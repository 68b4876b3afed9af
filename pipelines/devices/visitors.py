"""Visitors of the device: components that come to it when they are called, whole or by layers."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

from pipelines.devices.out_of_memory import is_out_of_memory

WAITING = "cpu"
"""Where weights are that are not on the device."""


class Visitor(Protocol):
    """Visitor: a component that is on the device for a while.

    Attributes:
        name: of its class.
        present: bytes that it takes there now.
        least: bytes that it needs there while it is called.
        greedy: whether it is faster with more than that.
    """

    name: str
    greedy: bool

    @property
    def present(self) -> int: ...

    @property
    def least(self) -> int: ...

    def come(self, room: int) -> None:
        """Be there, in no more bytes than these, but in `least` at any rate.

        Raises: torch.OutOfMemoryError: if there is no room; then nothing of it is there.
        """

    def shrink(self, size: int) -> None:
        """Take no more bytes than these, or than it can be called with; none if those are more."""


class WholeVisitor:
    """Visitor that comes and leaves as a whole."""

    greedy = False

    def __init__(self, component: Any, size: int, device: str) -> None:
        self.name = type(component).__name__
        self.least = size
        self.present = 0
        self._component = weakref.ref(component)
        self._device = device

    def come(self, room: int) -> None:
        """Move all of it to the device."""
        try:
            self._move(self._device)
        except BaseException:
            self._move(WAITING)
            raise
        self.present = self.least

    def shrink(self, size: int) -> None:
        """Leave, if it takes more than these bytes."""
        if size < self.present:
            self._move(WAITING)
            self.present = 0

    def _move(self, device: str) -> None:
        component = self._component()
        if component is not None:
            component.to(device)


class LayeredVisitor:
    """Visitor whose layers come one by one, but for those that there is room for."""

    greedy = True

    def __init__(self, component: Any, device: str) -> None:
        from pipelines.devices.layer_stream import LayerStream

        self.name = type(component).__name__
        self._stream = LayerStream(component, device)
        self._here = False
        self._most: int | None = None

    @property
    def present(self) -> int:
        return self.least + self._stream.staying if self._here else 0

    @property
    def least(self) -> int:
        return self._stream.least

    def come(self, room: int) -> None:
        """Let as many layers stay as fit; fewer where others have taken of the room."""
        spare = max(0, room - self.least)
        if self._most is not None:
            spare = min(spare, self._most)
        for size in (spare, spare // 2, 0):
            try:
                self._stream.keep(size)
                self._here = True
                return
            except Exception as error:
                self._here = False
                if size == 0 or not is_out_of_memory(error):
                    raise

    def shrink(self, size: int) -> None:
        """Give up layers that stay, or all of it."""
        if size >= self.least and self._here:
            self._stream.keep(min(self._stream.staying, size - self.least))
        else:
            self._stream.close()
            self._here, self._most = False, None

    def halve(self) -> bool:
        """Let only half of the layers stay until it has left; whether any did."""
        self._stream.drop()
        staying = self._stream.staying
        if staying:
            self._most = staying // 2
            self._stream.keep(self._most)
        return staying > 0
