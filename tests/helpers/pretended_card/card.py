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

from tests.helpers.pretended_card.ledger import HOST_WAITS, Event, Ledger, Memory


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
