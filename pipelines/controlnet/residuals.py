"""ControlNet residuals: computes what ControlNets add to rows, once, then weighs it for each row.

A ControlNet's outputs depend on x, t, text and map (FLUX: and on the distilled guidance), not on
strength or mode: rows that differ only in those share its call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.controlnet.adapter import ControlNetAdapter
from pipelines.denoising.evaluator import Tally
from pipelines.denoising.row import ControlInput, ControlTerm, Row
from pipelines.families.base import LoadedModel

_Key = tuple[int, float, int, int, float | None]
_Batch = tuple[Tensor, ...]


class Residuals:
    """ControlNet residuals: makes them, and keeps each until the last row of the round needs it.

    Args:
        controls: what the model's family knows of ControlNets.
        tally: counts the rows they compute.
        fill: exact mode: every batch is filled up to so many rows, so that a row's last bits do
            not depend on the others; None elsewhere.
    """

    def __init__(
        self, controls: ControlNetAdapter, model: LoadedModel, tally: Tally, fill: int | None = None
    ) -> None:
        self._controls = controls
        self._model = model
        self._tally = tally
        self._fill = fill
        self._uses: Counter[_Key] = Counter()
        self._made: dict[_Key, tuple[_Batch, int]] = {}

    @property
    def kept(self) -> int:
        """How many rows' outputs are kept for rows still to come; 0 at the end of a round."""
        return len(self._made)

    def begin(self, rows: Sequence[Row]) -> None:
        """A round begins: these rows will be asked for, each once, in any batches."""
        self._made.clear()
        self._uses = Counter(key for row in rows for key in _keys(row))

    def add_up(self, rows: Sequence[Row]) -> _Batch:
        """What is added to these rows inside the denoiser, one tensor a depth, (rows, …).

        Returns: () if no ControlNet acts on any of them; zeros for those where none does.
        """
        if not any(row.terms for row in rows):
            return ()
        self._make(rows)
        parts: dict[int, tuple[_Batch, list[tuple[int, int, ControlTerm]]]] = {}
        for place, row in enumerate(rows):
            for term in row.terms:
                batch, at = self._made[_key(row, term.source)]
                parts.setdefault(id(batch), (batch, []))[1].append((place, at, term))
        return self._sum(len(rows), [*parts.values()])

    def used(self, rows: Sequence[Row]) -> None:
        """These rows are done; what no other row of the round needs is dropped."""
        for row in {id(row): row for row in rows}.values():
            for key in _keys(row):
                self._uses[key] -= 1
                if self._uses[key] <= 0:
                    self._made.pop(key, None)

    def _make(self, rows: Sequence[Row]) -> None:
        """Compute what is missing, by ControlNet, in batches no larger than the denoiser's."""
        missing: dict[int, dict[_Key, tuple[Row, ControlInput]]] = {}
        for row in rows:
            for term in row.terms:
                key = _key(row, term.source)
                if key not in self._made:
                    missing.setdefault(id(term.source.net), {})[key] = (row, term.source)
        size = self._fill or len(rows)
        for wanted in missing.values():
            keys = list(wanted)
            for first in range(0, len(keys), size):
                chunk = keys[first : first + size]
                batch = self._batch([wanted[key] for key in chunk])
                for at, key in enumerate(chunk):
                    self._made[key] = (batch, at)

    def _batch(self, wanted: Sequence[tuple[Row, ControlInput]]) -> _Batch:
        filled = [*wanted, *[wanted[0]] * (self._fill - len(wanted) if self._fill else 0)]
        rows = [
            row if row.prompt is None else replace(row, condition=row.prompt) for row, _ in filled
        ]
        embeddings = torch.cat([source.embedding for _, source in filled])
        batch = self._controls.residuals(self._model, filled[0][1].net, rows, embeddings)
        self._tally.control_rows += len(wanted)
        return batch

    def _sum(
        self, rows: int, parts: Sequence[tuple[_Batch, list[tuple[int, int, ControlTerm]]]]
    ) -> _Batch:
        shares = [self._share(batch, members) for batch, members in parts]
        weighed = any(term.weighed for _, members in parts for _, _, term in members)
        made: dict[tuple[int, ...], Tensor] = {}
        total: list[Tensor] = []
        for depth in range(max(len(share.batch) for share in shares)):
            here = [share for share in shares if depth < len(share.batch)]
            # Several depths may get one and the same tensor, where a ControlNet has fewer.
            key = (depth if weighed else 0, *(id(share.batch[depth]) for share in here))
            if key not in made:
                made[key] = _sum_at(depth, rows, here)
            total.append(made[key])
        return tuple(total)

    def _share(self, batch: _Batch, members: list[tuple[int, int, ControlTerm]]) -> _Share:
        device, dtype = self._model.device, self._model.dtype
        into = [place for place, _, _ in members]
        return _Share(
            batch,
            into,
            torch.tensor(into, device=device),
            torch.tensor([one for _, one, _ in members], device=device),
            _scales([term for _, _, term in members], len(batch)).to(device, dtype),
        )


@dataclass(frozen=True, slots=True)
class _Share:
    """What one batch of a ControlNet adds to some rows.

    Attributes:
        into, where: places of the rows it adds to; at: of what it adds, in the batch.
        scales: (rows, depths).
    """

    batch: _Batch
    into: list[int]
    where: Tensor
    at: Tensor
    scales: Tensor


def _sum_at(depth: int, rows: int, shares: Sequence[_Share]) -> Tensor:
    """What is added at one depth, (rows, …)."""
    # Where one ControlNet pools and another does not, both add at the full shape.
    shape = max((share.batch[depth].shape[1:] for share in shares), key=torch.Size.numel)
    total: Tensor | None = None
    for share in shares:
        layer = share.batch[depth][share.at]
        added = layer * share.scales[:, depth].view(-1, *[1] * len(shape))
        added = added.expand(len(share.into), *shape)
        if total is None and share.into == list(range(rows)):
            total = added
            continue
        if total is None:
            total = added.new_zeros(rows, *shape)
        total = total.index_add(0, share.where, added)
    assert total is not None, "some row is pulled at"
    return total


def _scales(terms: Sequence[ControlTerm], depths: int) -> Tensor:
    """strength · w_l of every term and depth, (terms, depths) float32."""
    weights = torch.logspace(-1, 0, depths)
    rows = [weights if term.weighed else torch.ones(depths) for term in terms]
    strengths = torch.tensor([term.strength for term in terms])
    return torch.stack(rows) * strengths[:, None]


def _key(row: Row, source: ControlInput) -> _Key:
    """What a ControlNet's outputs depend on. The engine makes equal x one object."""
    text = row.condition if row.prompt is None else row.prompt
    return (
        id(source),
        float(row.t),
        id(text),
        id(row.x),
        row.guidance if source.takes_guidance else None,
    )


def _keys(row: Row) -> set[_Key]:
    return {_key(row, term.source) for term in row.terms}
