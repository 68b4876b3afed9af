"""Installs pretended cards: lets torch believe in them for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.helpers.pretended_card import runtime
from tests.helpers.pretended_card.card import PretendedCard
from tests.helpers.pretended_card.ledger import Ledger, Memory
from tests.helpers.pretended_card.modes import DispatchMode, FunctionMode


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
