"""Denoising engine: collects the rows of many cells, drops equal ones, computes full batches.

The engine knows trajectories and one evaluator of rows. It loads nothing, decodes
nothing and stores nothing; it tells what happened as it happens, and its caller does the rest
between two batches.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pipelines.denoising.evaluator import Evaluator
from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.oom_fallbacks import fallbacks
from pipelines.denoising.row import Row, alike, exact_bits
from pipelines.denoising.second_tries import SecondTries, in_our_words
from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.errors import ContactSheetError, OutOfMemory

VERSION = "4"
"""Part of every finished cell's address: raise it when the same Request gives other pixels."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stepped:
    """A cell took its `step`-th of `steps` evaluations; `trajectory.last` has the details."""

    cell: int
    step: int
    steps: int
    trajectory: GuidedTrajectory


@dataclass(frozen=True, slots=True)
class Finished:
    """A cell has its latents, (1, C, h, w); `seconds` is its share of the batches' time."""

    cell: int
    latents: Tensor
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell cannot go on. The others do."""

    cell: int
    error: Exception


class Paused:
    """Between two batches, because `give_way` said so; whoever reads on lets the engine go on."""


EngineEvent = Stepped | Finished | Failed | Paused


@dataclass(slots=True)
class _Live:
    """A cell that is being denoised."""

    cell: int
    make: Callable[[], GuidedTrajectory]
    trajectory: GuidedTrajectory
    rows: tuple[Row, ...]
    places: list[int] = field(default_factory=list)
    seconds: float = 0.0
    step: int = 0
    ended: bool = False


def denoise(
    cells: Iterable[tuple[int, Callable[[], GuidedTrajectory]]],
    evaluator: Evaluator,
    *,
    stop: Callable[[], bool] = lambda: False,
    free_memory: Callable[[], bool] = lambda: False,
    give_way: Callable[[], bool] = lambda: False,
    exact: bool = False,
) -> Iterator[EngineEvent]:
    """Denoise cells in as few, as full batches as possible.

    Every round takes one evaluation of every live cell. Rows that are equal (bits of x, t,
    condition, guidance, what controls add and layers that are skipped) are computed once. New
    cells join as others finish, so that a batch stays full while finished pictures come out early.

    Args:
        cells: number and maker of each cell's trajectory; a maker is called when its cell joins.
        evaluator: computes batches of rows, and says how many rows a batch has.
        stop: asked before every batch; when true the engine ends without another event.
        free_memory: called when memory ran out; true if it freed something worth a retry.
        give_way: asked after every batch; when true the engine yields Paused.
        exact: fill every batch up to `evaluator.most` with copies of its first row. Kernels choose
            their order of summation by the batch's size, so a row's last bits depend on it;
            filled up, they depend on the row alone.
    Yields: what happened, in order. A cell ends with Finished or Failed unless stopped.
    """
    tally = evaluator.tally
    waiting = deque(cells)
    live: list[_Live] = []
    batches = _Batches(evaluator, free_memory, exact)
    again = SecondTries(free_memory)
    while waiting or live:
        yield from _admit(waiting, live, 4 * evaluator.most, again)
        if not live:
            continue
        unique = _merge(live)
        tally.rows_naive += sum(len(one.rows) for one in live)
        tally.control_rows_naive += sum(len(row.terms) for one in live for row in one.rows)
        evaluator.begin(unique)
        outputs: list[Tensor | Exception] = []
        while len(outputs) < len(unique):
            if stop():
                return
            started = time.perf_counter()
            done = len(outputs)
            outputs += batches.next(unique[done:])
            _charge(live, done, len(outputs), time.perf_counter() - started)
            if give_way():
                yield Paused()
        askers = Counter(place for one in live for place in one.places)
        for one in live:
            mine = [_own(outputs[place], askers[place]) for place in one.places]
            for event in _advance(one, mine):
                if not isinstance(event, Failed):
                    yield event
                elif again.worth(event.cell, event.error):
                    waiting.appendleft((one.cell, one.make))
                else:
                    yield Failed(event.cell, in_our_words(event.error))
        live = [one for one in live if not one.ended]


def _admit(
    waiting: deque[tuple[int, Callable[[], GuidedTrajectory]]],
    live: list[_Live],
    room: int,
    again: SecondTries,
) -> Iterator[Failed]:
    """Let cells join while there is room for their rows.

    Fewer live cells would leave batches half empty and miss equal rows; more would only delay
    the first finished picture.
    """
    while waiting and sum(len(one.rows) for one in live) < room:
        cell, make = waiting.popleft()
        try:
            with torch.inference_mode():
                trajectory = make()
                live.append(_Live(cell, make, trajectory, trajectory.start()))
        except Exception as error:  # one bad cell must not lose the others
            failed = Failed(cell, error)
        else:
            continue
        if again.worth(failed.cell, failed.error):
            waiting.appendleft((cell, make))
        else:
            log.error("cell %d could not start", cell, exc_info=failed.error)
            yield Failed(cell, in_our_words(failed.error))


def _merge(live: Sequence[_Live]) -> list[Row]:
    """The rows to compute; every live cell learns where its own are."""
    places: dict[tuple[object, ...], int] = {}
    same: dict[bytes, Tensor] = {}
    unique: list[Row] = []
    for one in live:
        one.places = []
        content: tuple[Tensor, bytes] | None = None
        for row in one.rows:
            if content is None or content[0] is not row.x:
                content = (row.x, exact_bits(row.x))
            key = (float(row.t), *row.texts, row.guidance, content[1], row.terms, row.skip)
            place = places.setdefault(key, len(unique))
            if place == len(unique):
                unique.append(replace(row, x=same.setdefault(content[1], row.x)))
            one.places.append(place)
    return _by_kind(unique, live)


def _by_kind(unique: list[Row], live: Sequence[_Live]) -> list[Row]:
    """Rows of one kind side by side, because only those can share a batch."""
    keys = [row.batch_key for row in unique]
    if len(set(keys)) <= 1:
        return unique
    order = sorted(range(len(unique)), key=keys.__getitem__)
    moved = {old: new for new, old in enumerate(order)}
    for one in live:
        one.places = [moved[place] for place in one.places]
    return [unique[old] for old in order]


@dataclass(frozen=True, slots=True)
class _Batches:
    """The way from rows to outputs, memory permitting."""

    evaluator: Evaluator
    free_memory: Callable[[], bool]
    exact: bool

    def next(self, rows: Sequence[Row]) -> list[Tensor | Exception]:
        """Outputs of the first of these rows, (1, C, h, w) each; an error where there is none.

        Out of memory: free what is idle, then take smaller batches, then give up on the row.
        """
        chunk = rows[: self.evaluator.take(alike(rows))]
        try:
            return self._compute(chunk)
        except Exception as error:  # one bad batch must not lose the others
            said, full = str(error), is_out_of_memory(error)
            if not full:
                log.exception("a batch of %d rows failed", len(chunk))
                if len(chunk) == 1:
                    return [error]
        # Outside the handler, whose error keeps what did not fit.
        if not full:  # nor one bad row those beside it
            return [output for row in chunk for output in self.next([row])]
        for fallback in fallbacks("rows", len(chunk), self.exact):
            if fallback == "free" and self.free_memory():
                return self.next(rows)
            if fallback == "halve":
                self.evaluator.shrink(len(chunk))
                log.warning("out of memory at %d rows; taking fewer from now on", len(chunk))
                return self.next(rows)
        most = f"exact mode needs batches of {self.evaluator.most} rows, which do not"
        why = most if self.exact else "one row does not"
        return [OutOfMemory(f"{why} fit in the device's memory: {said}")] * len(chunk)

    def _compute(self, chunk: Sequence[Row]) -> list[Tensor | Exception]:
        evaluator = self.evaluator
        copies = [chunk[0]] * (evaluator.most - len(chunk) if self.exact else 0)
        started = time.perf_counter()
        with torch.inference_mode():
            outputs = evaluator.evaluate([*chunk, *copies])[: len(chunk)]
        evaluator.took(len(chunk), time.perf_counter() - started)
        evaluator.tally.batches += 1
        evaluator.tally.rows_computed += len(chunk)
        return [*torch.split(outputs, 1)]


def _charge(live: Sequence[_Live], first: int, end: int, seconds: float) -> None:
    """Split a batch's time among the cells whose rows were in it."""
    users = [(one, sum(first <= place < end for place in one.places)) for one in live]
    total = sum(count for _, count in users)
    for one, count in users:
        one.seconds += seconds * count / total


def _own(output: Tensor | Exception, askers: int) -> Tensor | Exception:
    """An output that its asker alone has, so that it may write into it."""
    return output.clone() if isinstance(output, torch.Tensor) and askers > 1 else output


def _advance(one: _Live, outputs: Sequence[Tensor | Exception]) -> Iterator[EngineEvent]:
    """Hand a cell its outputs: it has stepped, and perhaps it has finished or failed."""
    try:
        tensors = [_tensor(output) for output in outputs]
        with torch.inference_mode():
            one.rows = one.trajectory.advance(tensors)
    except Exception as error:  # one bad cell must not lose the others
        if not isinstance(error, ContactSheetError):
            log.exception("cell %d failed at evaluation %d", one.cell, one.step)
        one.ended = True
        yield Failed(one.cell, error)
        return
    one.step += 1
    last = one.trajectory.last
    assert last is not None, "a trajectory that advanced has a last evaluation"
    yield Stepped(one.cell, one.step, last[0].total, one.trajectory)
    latents = one.trajectory.result
    if latents is None:
        return
    one.ended = True
    if bool(torch.isfinite(latents).all()):
        yield Finished(one.cell, latents, one.seconds)
    else:
        yield Failed(one.cell, ContactSheetError(_OVERFLOW))


_OVERFLOW = (
    "numbers overflowed (there were infinities); float32, another sampler or fewer steps may help"
)


def _tensor(output: Tensor | Exception) -> Tensor:
    if isinstance(output, Exception):
        raise output
    return output
