"""Several optimizers as one: each with its own peak rates, all moved and saved together."""

from collections.abc import Iterable

import torch
from torch import Tensor

from training.optim.checkpoint import unprefixed
from training.optim.muon import Muon, split_named


class Optimizers:
    """Several optimizers that step as one, each with its own peak learning rates.

    Args:
        optimizers: built with the peak rate of each group as its `lr`.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self._all = optimizers
        self._peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]

    def step(self, share: float) -> None:
        """One step of each at `share` of its peak rates; gradients are cleared."""
        for optimizer, peaks in zip(self._all, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Their state as named tensors, for `save_checkpoint`."""
        return {
            f"optimizer.{number}.{index}.{name}": value
            for number, optimizer in enumerate(self._all)
            for index, entry in optimizer.state_dict()["state"].items()
            for name, value in entry.items()
            if isinstance(value, Tensor)
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for number, optimizer in enumerate(self._all):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in unprefixed(tensors, f"optimizer.{number}").items():
                index, name = key.split(".", 1)
                state.setdefault(int(index), {})[name] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def muon_and_adam(
    parameters: Iterable[tuple[str, Tensor]],
    by_element: tuple[str, ...],
    matrix_rate: float,
    rate: float,
    decay: tuple[float, float] = (0.0, 0.0),
    betas: tuple[float, float] = (0.9, 0.99),
) -> Optimizers:
    """Muon for the matrices among named parameters, AdamW for the rest.

    Args:
        by_element: see `muon.split_named`.
        matrix_rate, rate: peak rates of Muon and of AdamW.
        decay: of the weights, by Muon and by AdamW.
        betas: AdamW's.
    """
    matrices, others = split_named(parameters, by_element)
    return Optimizers(
        Muon(matrices, lr=matrix_rate, weight_decay=decay[0]),
        torch.optim.AdamW(others, lr=rate, betas=betas, weight_decay=decay[1]),
    )
