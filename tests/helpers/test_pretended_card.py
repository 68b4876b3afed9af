"""The pretended card does what a real one does, as far as the program could tell."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.pretended_card import pretended_card
from tests.helpers.pretended_card.modes import MixedDevices


def test_nothing_is_left_of_it_afterwards() -> None:
    before = torch.Tensor.device, torch.cuda.is_available, threading.Thread.run, torch.Generator
    with pretended_card():
        assert torch.cuda.is_available()
    assert (
        torch.Tensor.device,
        torch.cuda.is_available,
        threading.Thread.run,
        torch.Generator,
    ) == before
    assert torch.zeros(2).device.type == "cpu"


def test_results_live_where_their_operands_do_and_have_the_same_values() -> None:
    with pretended_card():
        x = torch.arange(6.0, device="cuda").reshape(2, 3)
        y = (x @ x.T).softmax(-1)[0].to(torch.float16)
        assert y.device == torch.device("cuda:0") and y.is_cuda
        back = y.cpu()
        assert back.device.type == "cpu" and not back.is_cuda
    assert torch.equal(back, (torch.tensor([[5.0, 14.0]]).softmax(-1)[0]).half())


@pytest.mark.parametrize(
    "act",
    [
        lambda card, host: card + host,
        lambda card, host: torch.cat([card, host]),
        lambda card, host: nn.functional.linear(card[None], host[None]),
        lambda card, host: torch.where(card > 0, card, host),
        lambda card, host: card.add_(host),
        lambda card, host: host.mul_(card),
        lambda card, host: torch.stack([host, card]),
    ],
)
def test_tensors_of_two_devices_are_refused(act: Any) -> None:
    with pretended_card():
        card, host = torch.ones(3, device="cuda"), torch.ones(3)
        with pytest.raises(MixedDevices, match="at least two devices"):
            act(card, host)


def test_a_number_on_the_host_and_an_index_on_the_host_are_taken() -> None:
    with pretended_card() as card:
        x = torch.arange(4.0, device="cuda")
        assert (x * torch.tensor(2.0)).tolist() == [0.0, 2.0, 4.0, 6.0]
        assert x[torch.tensor([1, 3])].device.type == "cuda"
    assert [e.kind for e in card.events if "index" in e.what] == ["host to card"]


def test_numpy_wants_host_memory() -> None:
    with pretended_card():
        with pytest.raises(TypeError, match="copy the tensor to host memory first"):
            torch.ones(2, device="cuda").numpy()
        assert torch.ones(2, device="cuda").cpu().numpy().tolist() == [1.0, 1.0]


def read_number(x: torch.Tensor) -> object:
    return x[0].item()


def ask(x: torch.Tensor) -> object:
    return bool(x.sum() > 0)


def copy_back(x: torch.Tensor) -> object:
    return x.cpu()


def mask(x: torch.Tensor) -> object:
    return x[x > 0]


def list_it(x: torch.Tensor) -> object:
    return x.tolist()


def find(x: torch.Tensor) -> object:
    return x.nonzero()


@pytest.mark.parametrize("act", [read_number, ask, copy_back, mask, list_it, find])
def test_what_the_host_waits_for_is_named_with_file_and_line(act: Any) -> None:
    with pretended_card() as card:
        x = torch.ones(4, device="cuda")
        card.events.clear()
        act(x)
    assert card.events, "nothing was noted"
    assert all(
        e.deep.endswith(act.__name__) and "test_pretended_card.py:" in e.deep for e in card.events
    )
    assert sum(card.host_waits().values()) >= 1


def test_what_stays_on_the_card_is_not_waited_for() -> None:
    with pretended_card() as card:
        x = torch.ones(4, device="cuda")
        card.events.clear()
        ((x * 2).sum() + x[0]).sqrt()
    assert card.events == []


def test_only_pinned_memory_is_copied_while_the_host_goes_on() -> None:
    with pretended_card() as card:
        host = torch.ones(4)
        host.to("cuda", non_blocking=True)
        host.pin_memory().to("cuda", non_blocking=True)
        host.pin_memory().to("cuda")
    kinds = [e.kind for e in card.events]
    assert kinds == ["host to card", "host to card (asynchronous)", "host to card"]


def test_reading_what_may_not_be_there_yet_is_unsafe() -> None:
    with pretended_card() as card:
        torch.ones(4, device="cuda").to("cpu", non_blocking=True)
    assert [e.kind for e in card.events] == ["card to host (asynchronous)", "unsafe"]


def test_bytes_are_exact() -> None:
    with pretended_card() as card:
        x = torch.empty(1000, device="cuda")
        view = x[:10]
        assert (card.live, card.memory[0].peak) == (4000, 4000), "a view has no bytes of its own"
        y = x + 1
        assert card.live == 8000
        del x, y
        gc.collect()
        assert card.live == 4000, "a view keeps its storage"
        del view
        assert (card.live, card.memory[0].peak) == (0, 8000)
        assert torch.cuda.mem_get_info() == (24 * 2**30, 24 * 2**30)


def test_pinned_bytes_are_rounded_as_torch_rounds_them() -> None:
    with pretended_card() as card:
        held = torch.empty(1000).pin_memory()
        assert held.is_pinned() and not torch.empty(1).is_pinned()
        assert (card.ledger.pinned, card.ledger.pinned_as_torch) == (4000, 4096)
        del held
        assert (card.ledger.pinned, card.ledger.pinned_as_torch) == (0, 0)


def test_offloading_by_data_is_seen() -> None:
    """As diffusers and accelerate do it: the parameter stays, its storage changes."""
    with pretended_card() as card:
        layer = nn.Linear(8, 8, bias=False)
        kept = layer.weight.data
        layer.weight.data = layer.weight.data.to("cuda")
        assert layer.weight.device.type == "cuda" and card.live == 256
        layer.weight.data = kept
        assert layer.weight.device.type == "cpu" and card.live == 0
        layer.to("cuda")
        assert card.live == 256
        layer.to("cpu")
        assert card.live == 0


def test_what_does_not_fit_is_refused_and_leaves_nothing() -> None:
    with pretended_card(total=10_000, taken=2000) as card:
        kept = torch.empty(1000, device="cuda")
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            torch.empty(1001, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(500) + torch.empty(0) if card.live == 0 else torch.cat([kept, kept])
        assert card.live == 4000 and card.ledger.refusals == 2
        torch.empty(1000, device="cuda")


def test_any_allocation_can_be_made_to_fail() -> None:
    count = 0

    def third(size: int) -> bool:
        nonlocal count
        count += 1
        return count == 3

    with pretended_card(refuse=third):
        x = torch.ones(2, device="cuda")
        y = x + 1
        with pytest.raises(torch.OutOfMemoryError):
            x * y
        assert (x * y).tolist() == [2.0, 2.0]


def test_windows_spills_unless_the_process_sets_itself_a_limit() -> None:
    with pretended_card(total=1000, spills=True) as card:
        x = torch.empty(500, device="cuda")
        assert card.memory[0].spilled == 1000
        del x
        torch.cuda.set_per_process_memory_fraction(0.9)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(500, device="cuda")


def test_threads_see_the_card_and_choose_their_own() -> None:
    seen: list[torch.device] = []

    def work() -> None:
        torch.cuda.set_device(1)
        seen.append(torch.ones(1, device="cuda").device)
        stream: Any = torch.cuda.Stream
        seen.append(stream().device)

    with pretended_card(total=[1000, 1000]) as card:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [torch.device("cuda:1")] * 2
        assert torch.ones(1, device="cuda").device == torch.device("cuda:0")
        assert card.memory[1].peak == 4


def test_two_cards_do_not_mix_and_copies_between_them_are_noted() -> None:
    with pretended_card(total=[1000, 1000]) as card:
        one, two = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
        with pytest.raises(MixedDevices, match="cuda:0 and cuda:1"):
            one + two
        assert (one.to("cuda:1") + two).device == torch.device("cuda:1")
        assert torch.cuda.device_count() == 2
    assert [e.kind for e in card.events] == ["card to card (asynchronous)"]


def test_capability_decides_on_bfloat16() -> None:
    with pretended_card(capability=(7, 5)):
        assert not torch.cuda.is_bf16_supported()
        assert torch.cuda.get_device_capability("cuda:0") == (7, 5)
    with pretended_card(capability=(9, 0)):
        assert torch.cuda.is_bf16_supported()


def test_apples_cards_know_no_float64_and_have_words_of_their_own() -> None:
    with pretended_card(total=1000, kind="mps") as card:
        assert torch.backends.mps.is_available() and not torch.cuda.is_available()
        x = torch.ones(2, device="mps")
        assert card.live == 8
        assert (x + 1).device.type == "mps"
        acts: list[Any] = [
            lambda: x.double(),
            lambda: x.to(torch.float64),
            lambda: torch.zeros(1, dtype=torch.float64, device="mps"),
            lambda: torch.tensor([1.0], dtype=torch.float64, device="mps"),
            lambda: torch.zeros(1, dtype=torch.float64).to("mps"),
        ]
        for act in acts:
            with pytest.raises(TypeError, match="float64"):
                act()
        with pytest.raises(RuntimeError, match="MPS backend out of memory"):
            torch.empty(1000, device="mps")


def test_random_numbers_of_the_card_are_noted() -> None:
    """A picture's noise comes from the host: a card's generator gives other numbers."""
    with pretended_card() as card:
        torch.Generator("cuda")
        assert [e.kind for e in card.events] == ["generator"]
        torch.Generator("cpu").manual_seed(1)
        assert len(card.events) == 1
