"""Pretended card: lets torch believe in a graphics card that plain CPU tensors play.

    with pretended_card(total=8 * 2**30, capability=(8, 6)) as card:
        ...  # the real program, device="cuda"
    card.events, card.memory[0].peak, card.host_waits()

Storages carry a tag. A function mode answers what C++ would ask the real device (`.to`, `.numpy`,
`pin_memory`), a dispatch mode passes tags on, refuses tensors of two devices and notes waits. Tags
on storages, not a subclass, since only these survive `parameter.data = other`, as offloading does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.helpers.pretended_card import runtime
from tests.helpers.pretended_card.ledger import HOST_WAITS, Event, Ledger, Memory
from tests.helpers.pretended_card.modes import DispatchMode, FunctionMode


class PretendedCard:
    """Graphics cards that are not there: their memory, and what they would have been told.

    Args:
        ledger: what is known of them.
        capability: of CUDA: 7.5 is a T4 or RTX 20, 8.6 an RTX 30, 9.0 an H100.
    """

    def __init__(self, ledger: Ledger, capability: tuple[int, int]) -> None:
        self.ledger, self.capability = ledger, capability
        self._thread = threading.local()

    @property
    def current(self) -> int:
        """The card that this thread works on, as `torch.cuda.set_device` chose it."""
        return getattr(self._thread, "device", 0)

    @current.setter
    def current(self, index: int) -> None:
        self._thread.device = index

    @property
    def memory(self) -> list[Memory]:
        """Bytes, card by card."""
        return self.ledger.cards

    @property
    def live(self) -> int:
        """Bytes of all tensors that are on a card now."""
        return sum(memory.live for memory in self.ledger.cards)

    @property
    def events(self) -> list[Event]:
        """All that was copied and waited for."""
        return self.ledger.events

    def host_waits(self) -> Counter[str]:
        """How often the program stood still, by the place in it; libraries' places where none."""
        return Counter(e.where or e.deep for e in self.events if e.kind in HOST_WAITS)


def _device(ledger: Ledger) -> property:
    real = torch.Tensor.device.__get__
    return property(lambda tensor: ledger.device_of(tensor) or real(tensor))


@contextmanager
def pretended_card(
    total: int | Sequence[int] = 24 * 2**30,
    *,
    kind: str = "cuda",
    capability: tuple[int, int] = (8, 6),
    taken: int = 0,
    spills: bool = False,
    refuse: Callable[[int], bool] | None = None,
) -> Iterator[PretendedCard]:
    """Let torch find cards of these bytes, one each.

    Args:
        kind: `cuda`, or `mps` for Apple's.
        taken: bytes of the first that another program holds.
        spills: whether what does not fit goes to main memory in silence, as under Windows.
        refuse: asked for every allocation's bytes: whether this one fails.
    """
    sizes = [total] if isinstance(total, int) else list(total)
    ledger = Ledger(kind, [Memory(size) for size in sizes], spills=spills, refuse=refuse)
    ledger.cards[0].taken = taken
    card = PretendedCard(ledger, capability)

    def modes() -> tuple[DispatchMode, FunctionMode]:
        return (
            DispatchMode(ledger, lambda: card.current),
            FunctionMode(ledger, lambda: card.current),
        )

    run = threading.Thread.run

    def run_with_modes(thread: threading.Thread) -> None:
        # Modes are a thread's own.
        with ExitStack() as inside:
            for mode in modes():
                inside.enter_context(mode)
            run(thread)

    replaced: list[tuple[Any, str, Any]] = [
        (torch.Tensor, "device", _device(ledger)),
        (threading.Thread, "run", run_with_modes),
        *runtime.replacements(card),
    ]
    with ExitStack() as undo:
        if kind == "cuda":
            torch._C._ensureCUDADeviceGuardSet()
        for owner, name, value in replaced:
            undo.enter_context(_replaced(owner, name, value))
        for mode in modes():
            undo.enter_context(mode)
        yield card


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    own = name in vars(owner)
    kept = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, kept)
        else:
            delattr(owner, name)
