"""Data-parallel training of one model by several processes, one core each.

One process with a thread a core waits for its slowest thread in every operator, and so nearly
stops when anything else runs beside it; processes wait for each other once a step. Weights and
gradients lie in shared memory: each worker computes a part of the batch in bfloat16 (four times
float32's rate on a processor that has it), then moves a part of the parameters in float32.
Source: mixed precision with master weights, Micikevicius et al. 2018, arXiv:1710.03740.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.optim.optimizers import Optimizers

WORKERS = 2
# PyTorch has the method without types.
_share: Callable[[Tensor], Tensor] = Tensor.share_memory_


@dataclass(frozen=True)
class Memory:
    """Shared memory of the workers; each vector holds all parameters, in the model's order.

    Args:
        weights: what the model computes with, bfloat16.
        masters: the same weights in float32, which the optimizers move.
        average: their moving average, float32.
        gradients: of every worker, (workers, parameters) bfloat16.
        norms: partial squared norms of the gradient, (workers,) float64.
        signals: what worker 0 tells the others about a step, (3,) float64.
        barrier: where they wait for each other.
    """

    weights: Tensor
    masters: Tensor
    average: Tensor
    gradients: Tensor
    norms: Tensor
    signals: Tensor
    barrier: Any

    @classmethod
    def of(cls, model: nn.Module, context: Any, workers: int = WORKERS) -> Memory:
        """Shared memory that starts with a float32 model's parameters."""
        flat = nn.utils.parameters_to_vector(model.parameters()).detach().float()
        return cls(
            weights=_share(flat.bfloat16()),
            masters=_share(flat.clone()),
            average=_share(flat.clone()),
            gradients=_share(torch.zeros(workers, len(flat), dtype=torch.bfloat16)),
            norms=_share(torch.zeros(workers, dtype=torch.float64)),
            signals=_share(torch.zeros(3, dtype=torch.float64)),
            barrier=context.Barrier(workers),
        )


def views(flat: Tensor, model: nn.Module) -> dict[str, Tensor]:
    """A vector of all parameters as one tensor a parameter, by its name, without copying."""
    found, start = {}, 0
    for name, p in model.named_parameters():
        found[name] = flat[start : start + p.numel()].view(p.shape)
        start += p.numel()
    return found


def shares(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Positions dealt out so that the sums of their costs are about equal, dearest first."""
    dealt: list[list[int]] = [[] for _ in range(workers)]
    sums = [0.0] * workers
    for position in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = sums.index(min(sums))
        dealt[least].append(position)
        sums[least] += costs[position]
    return dealt


def update_cost(parameter: Tensor) -> float:
    """About what one update takes: Muon multiplies a matrix with itself, small side squared."""
    if parameter.ndim < 2:
        return float(parameter.numel())
    return float(parameter.numel() * min(parameter.flatten(1).shape))


class Worker:
    """Worker process: computes a part of the batch and moves a part of the parameters.

    Args:
        model: of the right shape; it becomes bfloat16 and computes with the shared weights.
        make_optimizers: from the float32 masters of this worker's share, by name.
    """

    def __init__(
        self,
        rank: int,
        memory: Memory,
        model: nn.Module,
        make_optimizers: Callable[[dict[str, Tensor]], Optimizers],
    ) -> None:
        self.rank, self.memory = rank, memory
        self.model = model.to(torch.bfloat16)
        names = [name for name, _ in model.named_parameters()]
        weights, gradients = views(memory.weights, model), views(memory.gradients[rank], model)
        for name, p in model.named_parameters():
            p.data, p.grad = weights[name], gradients[name]
        costs = [update_cost(weights[name]) for name in names]
        self._own = [names[i] for i in shares(costs, len(memory.norms))[rank]]
        self._weights = weights
        self._masters = views(memory.masters, model)
        self._average = views(memory.average, model)
        self._all = [views(row, model) for row in memory.gradients]
        self.optimizers = make_optimizers({name: self._masters[name] for name in self._own})

    def wait(self) -> None:
        """Wait until every worker is here."""
        self.memory.barrier.wait()

    @torch.no_grad()
    def step(self, share: float, decay: float, clip: float = 1.0) -> None:
        """Move this worker's parameters by the mean of all gradients; all workers must call it.

        Args:
            share: of the peak rates.
            decay: of the moving average.
            clip: the longest gradient allowed.
        """
        self.wait()
        squared = 0.0
        for name in self._own:
            mean = torch.stack([grads[name] for grads in self._all]).float().mean(0)
            self._masters[name].grad = mean
            squared += float(mean.square().sum())
        self.memory.norms[self.rank] = squared
        self.wait()
        self.memory.gradients[self.rank].zero_()
        length = float(self.memory.norms.sum()) ** 0.5
        for name in self._own:
            gradient = self._masters[name].grad
            assert gradient is not None
            gradient.mul_(min(1.0, clip / (length + 1e-6)))
        self.optimizers.step(share)
        for name in self._own:
            self._average[name].lerp_(self._masters[name], 1 - decay)
            self._weights[name].copy_(self._masters[name])
        self.wait()
