"""Processes that train one model: they share work and memory, and move it as one process would."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.optim.muon import split_named
from training.optim.optimizers import Optimizers
from training.optim.team import Memory, Worker, shares, update_cost, views

ROWS, STEPS, RATE = 8, 3, 0.5


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def descent(masters: dict[str, Tensor]) -> Optimizers:
    """Plain descent, whose step is as long as the gradient: a wrong mean or clip shows."""
    return Optimizers(torch.optim.SGD(masters.values(), lr=RATE))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, 6, generator=generator), torch.randn(ROWS, 3, generator=generator)


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).float().square().mean()


def work(rank: int, memory: Memory, clip: float) -> None:
    torch.set_num_threads(1)
    worker = Worker(rank, memory, tiny(), descent)
    x, y = (half.chunk(2)[rank].bfloat16() for half in data())
    for _ in range(STEPS):
        loss_of(worker.model, x, y).backward()
        worker.step(1.0, decay=0.5, clip=clip)


def alone(clip: float) -> tuple[Tensor, Tensor]:
    """The same steps in one process in float32: the weights and their average."""
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    average = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for _ in range(STEPS):
        loss_of(model, *data()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        weights = nn.utils.parameters_to_vector(model.parameters()).detach()
        average.lerp_(weights, 0.5)
    return weights, average


@pytest.mark.parametrize("clip", [0.2, 1e9])
def test_two_processes_move_a_model_as_one_would(clip: float) -> None:
    context: Any = torch.multiprocessing.get_context("spawn")
    memory = Memory.of(tiny(), context)
    start = memory.masters.clone()
    other = context.Process(target=work, args=(1, memory, clip), daemon=True)
    other.start()
    threads = torch.get_num_threads()
    try:
        work(0, memory, clip)
    finally:
        torch.set_num_threads(threads)
    other.join(60)
    assert other.exitcode == 0
    weights, average = alone(clip)
    moved = float((weights - start).abs().max())
    assert float((memory.masters - weights).abs().max()) < 0.02 * moved, "bfloat16 has 8 bits"
    assert float((memory.average - average).abs().max()) < 0.02 * moved
    assert memory.weights.equal(memory.masters.bfloat16())
    assert not memory.gradients.any(), "cleared for the next step"


def test_views_are_the_vector_itself() -> None:
    model = tiny()
    flat = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    found = views(flat, model)
    assert {name: value.shape for name, value in found.items()} == {
        name: p.shape for name, p in model.named_parameters()
    }
    assert all(found[name].equal(p) for name, p in model.named_parameters())
    found["2.bias"].fill_(7)
    assert flat[-3:].tolist() == [7, 7, 7]
    flat.zero_()
    assert not found["0.weight"].any()


def test_shares_hold_every_position_once_and_weigh_the_same() -> None:
    costs = [9.0, 1.0, 5.0, 4.0, 1.0]
    dealt = shares(costs, 2)
    assert sorted([*dealt[0], *dealt[1]]) == list(range(5))
    assert [sum(costs[i] for i in part) for part in dealt] == [10, 10]
    assert shares([3.0], 2) == [[0], []]


@pytest.mark.parametrize(
    ("shape", "cost"), [((5,), 5), ((4, 6), 24 * 4), ((8, 2, 3, 3), 144 * 8), ((64, 3), 192 * 3)]
)
def test_an_update_costs_what_muon_multiplies(shape: tuple[int, ...], cost: int) -> None:
    assert update_cost(torch.zeros(shape)) == cost


def test_named_matrices_are_split_by_their_names() -> None:
    named = {"a.conv_in.weight": torch.zeros(2, 2), "b.weight": torch.zeros(2, 2)}
    named["b.bias"] = torch.zeros(2)
    matrices, others = split_named(named.items(), ("conv_in",))
    assert [m is named["b.weight"] for m in matrices] == [True]
    assert len(others) == 2
