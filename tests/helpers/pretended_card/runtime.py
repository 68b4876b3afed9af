"""Runtime of a pretended card: stands in for `torch.cuda` and `torch.mps`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

# It looks inside functions that are replaced here, and would be imported while they are.
import torch._dynamo

from tests.helpers.pretended_card.card import PretendedCard
from tests.helpers.pretended_card.ledger import Memory

NAME = "Pretended RTX"


def replacements(card: PretendedCard) -> list[tuple[Any, str, Any]]:
    """What is replaced while the card is there: (owner, name, value)."""
    if card.ledger.kind == "mps":
        return _mps(card)
    found = [(torch.cuda, name, value) for name, value in vars(_Cuda(card)).items()]
    is_cuda = property(lambda tensor: tensor.device.type == "cuda")
    return [*found, (torch.Tensor, "is_cuda", is_cuda), (torch, "Generator", _generator(card))]


def _generator(card: PretendedCard) -> type:
    real = torch.Generator

    class Generator:
        """A generator asked for on the card draws on the host: other numbers than a card's."""

        def __new__(cls, device: Any = "cpu") -> Any:
            if torch.device(device).type == "cuda":
                card.ledger.note("generator", "torch.Generator on the card")
            return real("cpu")

    return Generator


class _Cuda(SimpleNamespace):
    """The functions of `torch.cuda`, by name."""

    def __init__(self, card: PretendedCard) -> None:
        ledger = card.ledger

        def index_of(device: Any) -> int:
            if device is None:
                return card.current
            if isinstance(device, int):
                return device
            index = torch.device(device).index
            return card.current if index is None else index

        def memory(device: Any) -> Memory:
            return ledger.cards[index_of(device)]

        def properties(device: Any = None) -> Any:
            major, minor = card.capability
            return SimpleNamespace(
                total_memory=memory(device).total, name=NAME, major=major, minor=minor,
                multi_processor_count=80, warp_size=32, gcnArchName="",
            )  # fmt: skip

        def mem_get_info(device: Any = None) -> tuple[int, int]:
            one = memory(device)
            return max(0, one.total - one.taken - one.live), one.total

        class Event:
            def __init__(self, *_: Any, **__: Any) -> None:
                pass

            def record(self, *_: Any) -> None:
                pass

            def wait(self, *_: Any) -> None:
                pass

            def synchronize(self) -> None:
                ledger.note("wait", "event.synchronize")

            def elapsed_time(self, _: Any) -> float:
                return 1.0

            def query(self) -> bool:
                return True

        class Stream:
            """One stream; made on the card that is current, as torch makes it."""

            def __init__(self, device: Any = None, *_: Any, **__: Any) -> None:
                self.device = torch.device("cuda", index_of(device))

            def synchronize(self) -> None:
                ledger.note("wait", "stream.synchronize")

            def wait_stream(self, _: Any) -> None:
                pass

            def wait_event(self, _: Any) -> None:
                pass

            def record_event(self, event: Any = None) -> Any:
                return event or Event()

            def query(self) -> bool:
                return True

            def __enter__(self) -> Stream:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

        @contextmanager
        def on(device: Any) -> Iterator[None]:
            before = card.current
            card.current = index_of(device)
            try:
                yield
            finally:
                card.current = before

        @contextmanager
        def in_stream(stream: Any) -> Iterator[None]:
            # Inside, what is made is made on the stream's card.
            with on(None if stream is None else stream.device):
                yield

        def set_device(device: Any) -> None:
            card.current = index_of(device)

        def set_fraction(fraction: float, device: Any = None) -> None:
            memory(device).fraction = fraction

        streams = [Stream(index) for index in range(len(ledger.cards))]
        super().__init__(
            is_available=lambda: True,
            is_initialized=lambda: True,
            _lazy_init=lambda: None,
            device_count=lambda: len(ledger.cards),
            current_device=lambda: card.current,
            set_device=set_device,
            device=on,
            get_device_properties=properties,
            get_device_capability=lambda device=None: card.capability,
            get_device_name=lambda device=None: NAME,
            is_bf16_supported=lambda *_, **__: card.capability >= (8, 0),
            mem_get_info=mem_get_info,
            memory_reserved=lambda device=None: memory(device).live,
            memory_allocated=lambda device=None: memory(device).live,
            max_memory_allocated=lambda device=None: memory(device).peak,
            set_per_process_memory_fraction=set_fraction,
            empty_cache=lambda: None,
            synchronize=lambda device=None: ledger.note("wait", "torch.cuda.synchronize"),
            Event=Event,
            Stream=Stream,
            current_stream=lambda device=None: streams[index_of(device)],
            default_stream=lambda device=None: streams[index_of(device)],
            stream=in_stream,
            is_current_stream_capturing=lambda: False,
        )


def _mps(card: PretendedCard) -> list[tuple[Any, str, Any]]:
    (memory,) = card.ledger.cards
    functions = {
        "empty_cache": lambda: None,
        "synchronize": lambda: card.ledger.note("wait", "torch.mps.synchronize"),
        "current_allocated_memory": lambda: memory.live,
        "driver_allocated_memory": lambda: memory.live,
        "recommended_max_memory": lambda: memory.total,
    }
    return [
        (torch.backends.mps, "is_available", lambda: True),
        (torch.backends.mps, "is_built", lambda: True),
        *((torch.mps, name, function) for name, function in functions.items()),
    ]
