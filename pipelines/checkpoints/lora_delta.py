"""LoRA deltas: compute what a LoRA of any form adds to one weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Delta:
    """Low-rank delta: holds what a LoRA adds to one weight at scale 1.

    Math: ΔW = factor · up·down

    Attributes:
        down: (r, in, …); up: (out, r) or (out, r, 1, 1).
    """

    down: Tensor
    up: Tensor
    factor: float

    def matrix(self, device: Any) -> Tensor:
        """Multiply the halves in float32: (out, in · …), without the factor."""
        up, down = (half.to(device, torch.float32).flatten(1) for half in (self.up, self.down))
        return up @ down

    def misfit(self, weight: tuple[int, ...]) -> str:
        """Say which numbers it is for, if not for a weight of this shape; "" if it fits."""
        up, down = tuple(self.up.shape), tuple(self.down.shape)
        fits = (
            min(len(up), len(down), len(weight)) >= 2
            and (up[0], down[1]) == weight[:2]
            and prod(up[1:]) == down[0]
            and prod(down[1:]) == prod(weight[1:])
        )
        return "" if fits else f"{up[0] if up else 0} × {prod(down[1:])}"


@dataclass(frozen=True, slots=True)
class FactoredDelta:
    """Factored delta: holds what a LoHa, a LoKr or another form adds to one weight at scale 1.

    Math: LoHa ΔW = (w1a·w1b) ⊙ (w2a·w2b); LoKr ΔW = w1 ⊗ w2; either times `factor`

    Attributes:
        form: a key of `FORMS`.
        factors: by their names in the file.
        rows: of what the factors give, those that this weight has; None = all.
    """

    form: str
    factors: Mapping[str, Tensor]
    factor: float
    rows: Tensor | None = None

    def matrix(self, device: Any) -> Tensor:
        """Multiply the factors in float32: (out, in · …), without the factor."""
        inside = {name: one.to(device, torch.float32) for name, one in self.factors.items()}
        made = FORMS[self.form](inside).flatten(1)
        return made if self.rows is None else made[self.rows.to(device)]

    def misfit(self, weight: tuple[int, ...]) -> str:
        """Say which numbers it is for, if not for a weight of this shape; "" if it fits."""
        rows, columns = self.matrix("meta").shape
        fits = len(weight) >= 2 and (rows, columns) == (weight[0], prod(weight[1:]))
        return "" if fits else f"{rows} × {columns}"


AnyDelta = Delta | FactoredDelta


def rank_of(form: str, factors: Mapping[str, Tensor]) -> int:
    """Tell the rank that alpha is divided by; 0 where alpha means nothing.

    Source: LyCORIS, `modules/loha.py`, `modules/lokr.py`: two whole Kronecker factors have none.
    """
    for name in {"LoHa": ("hada_w1_b",), "LoKr": ("lokr_w2_b", "lokr_w1_b")}.get(form, ("down",)):
        if name in factors:
            return int(factors[name].shape[0])
    return 0


def _loha(given: Mapping[str, Tensor]) -> Tensor:
    one, two = (
        _product(given[f"hada_w{i}_a"], given[f"hada_w{i}_b"], given.get(f"hada_t{i}"))
        for i in (1, 2)
    )
    return one * two


def _lokr(given: Mapping[str, Tensor]) -> Tensor:
    one, two = (
        given[f"lokr_w{i}"]
        if f"lokr_w{i}" in given
        else _product(given[f"lokr_w{i}_a"], given[f"lokr_w{i}_b"], given.get(f"lokr_t{i}"))
        for i in (1, 2)
    )
    return torch.kron(one.reshape(*one.shape, *[1] * (two.dim() - one.dim())), two.contiguous())


def _product(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """a·b, or for convolutions the core in its two first directions times both."""
    if core is None:
        return a.flatten(1) @ b.flatten(1)
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)


def _tucker(given: Mapping[str, Tensor]) -> Tensor:
    up, down = given["up"].flatten(1), given["down"].flatten(1)
    return torch.einsum("op,pqkl,qi->oikl", up, given["mid"], down)


FORMS: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]] = {
    "LoHa": _loha,
    "LoKr": _lokr,
    "full difference": lambda given: given["diff"],
    "Tucker": _tucker,
}
"""What each form makes of its factors: (out, in, …)."""
