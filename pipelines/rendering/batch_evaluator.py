"""Evaluates denoiser rows in batches on the chosen backend.

These settings change speed, never pixels, so they are no part of a Request. One evaluator serves
the cells of one model and size: it measures as it goes (`denoising.batch_sizes`) and remembers
what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import backends
from pipelines.denoising.batch_sizes import (
    DEFAULT_ROWS,
    TRIES,
    AutotunedBatches,
    FixedBatches,
    Sample,
    Samples,
    best,
)
from pipelines.denoising.evaluator import Tally
from pipelines.errors import InvalidRequest
from pipelines.rendering.timings.batch_timings import BatchTimings

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.backends.base import Denoiser
    from pipelines.controlnet.residuals import Residuals
    from pipelines.denoising.row import Row
    from pipelines.families.base import Family, LoadedModel

MOST_ROWS = 1024


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """Options of computing that the user chose.

    Attributes:
        backend: a row of `BACKENDS`, or `auto`.
        batch: rows in a batch; None measures what is fastest.
        exact: a cell's bits do not depend on what it is made together with.
        cache: folder for measurements and compiled models; None keeps nothing.
    """

    backend: str = "torch"
    batch: int | None = None
    exact: bool = False
    cache: Path | None = None

    def check(self) -> None:
        """Raises: InvalidRequest, UnknownName: if it cannot be done here."""
        backends.check(self.backend)
        if self.batch is not None and not 1 <= self.batch <= MOST_ROWS:
            raise InvalidRequest(
                f"batch is {self.batch}; it must be a whole number of rows from 1 to {MOST_ROWS}"
            )

    @property
    def mark(self) -> str:
        """What of this decides bits, as a part of a cell's address; "" where none is promised."""
        if not self.exact:
            return ""
        backend = "" if self.exact_backend == "torch" else f" {self.exact_backend}"
        batch = "" if self.batch in (None, DEFAULT_ROWS) else f" {self.batch}"
        return f" exact{backend}{batch}"

    @property
    def exact_backend(self) -> str:
        """The one backend of exact mode: what measures fastest may change from day to day."""
        return "torch" if self.backend == backends.AUTO else self.backend

    @property
    def fixed_batch(self) -> int | None:
        """Rows in every batch, where that is not measured: asked for, or exact mode's."""
        return (self.batch or DEFAULT_ROWS) if self.exact else self.batch


def backends_for(
    options: ComputeOptions,
    device: str,
    *,
    steady: bool,
    loras: bool,
    packed: bool,
    worth_trying: Callable[[str], bool],
) -> list[str]:
    """Choose the backends that may compute a group of cells, torch or the named one first.

    Args:
        steady: every row goes through one network with one set of inputs. Controls and skipped
            layers come and go with a window, which torch alone can follow.
        loras: LoRAs are in the weights. A copy of those for each state of the LoRAs costs more
            than another backend saves, so `auto` takes none.
        packed: some weights are blocks of bytes; torch stands in for what cannot read them.
        worth_trying: whether `auto` should measure a backend.
    Raises: InvalidRequest: if the chosen backend cannot compute on the device.
    """
    chosen = options.exact_backend if options.exact else options.backend
    names = backends.fitting(chosen if steady else "torch", device)
    if chosen == backends.AUTO:
        names = [name for name in names if name == "torch" or (not loras and worth_trying(name))]
    if packed:
        names = [name for name in names if backends.BACKENDS[name].packed] or ["torch"]
    return names


def fastest(known: Mapping[str, Samples], rows: int) -> str:
    """Find the backend whose rows cost least in batches of so many; the first if none is known.

    Each is judged by its best size that these rows fill, or its smallest if they fill none.
    """

    def seconds(samples: Samples) -> float:
        sure = {size: one for size, one in samples.items() if one.calls >= TRIES}
        if not sure:
            return float("inf")
        reach = max(rows, min(sure))
        return min(one.seconds for size, one in sure.items() if size <= reach)

    return min(known, key=lambda name: seconds(known[name]))


class BatchEvaluator:
    """Evaluator of the rows of one model at one picture size.

    Args:
        latent: shape of a latent, (C, h, w).
        memory: bytes the device has.
        residuals: makes what ControlNets add; None where no cell has controls.
        skips: whether some cell skips layers.
        tally: counts; that of `residuals`.
    Raises: InvalidRequest: if the chosen backend cannot compute on the model's device.
    """

    def __init__(
        self,
        options: ComputeOptions,
        timings: BatchTimings,
        family: Family,
        model: LoadedModel,
        *,
        latent: tuple[int, int, int],
        memory: int,
        residuals: Residuals | None = None,
        skips: bool = False,
        tally: Tally | None = None,
    ) -> None:
        from torch import uint8

        from pipelines.devices.hardware import device_label

        self.tally = tally or Tally()
        self._options = options
        self._timings = timings
        self._family = family
        self._model = model
        self._memory = memory
        self._residuals = residuals
        shape = "x".join(map(str, latent))
        steered = "" if residuals is None else "steered "
        weights = (model.base or model.fingerprint)[:16]  # LoRAs in them do not change the speed
        self._key = f"{weights} {shape} {steered}{device_label(model.device)} {model.dtype}"
        names = backends_for(
            options,
            model.device,
            steady=residuals is None and not skips,
            loras=bool(model.base),
            packed=any(one.dtype == uint8 for one in family.network(model).parameters()),
            worth_trying=self._worth_trying,
        )
        self._sizes = {name: self._sizes_of(name) for name in names}
        self._batches = {name: self._batches_of(name) for name in names}
        self._turn = names[0]

    @property
    def backend(self) -> str:
        """The backend that computes the next batch."""
        return self._turn

    def evaluate(self, rows: Sequence[Row]) -> Tensor:
        """Compute outputs of rows of one kind, (rows, C, h, w), by `backend`."""
        from pipelines.devices.hardware import wait_for

        added = () if self._residuals is None else self._residuals.add_up(rows)
        inputs = self._family.inputs(self._model, rows)
        output = self._denoiser(self._turn, rows[0].skip)((*inputs, *added))
        wait_for(self._model.device)
        if self._residuals is not None:
            self._residuals.used(rows)
        return output

    def begin(self, rows: Sequence[Row]) -> None:
        """Learn the rows of a round, for what ControlNets add."""
        if self._residuals is not None:
            self._residuals.begin(rows)

    @property
    def most(self) -> int:
        return max(batches.most for batches in self._batches.values())

    def take(self, rows: int) -> int:
        self._turn = self._choose(rows)
        return self._batches[self._turn].take(rows)

    def took(self, rows: int, seconds: float) -> None:
        self._batches[self._turn].took(rows, seconds)

    def shrink(self, rows: int) -> None:
        for batches in self._batches.values():
            batches.shrink(rows)

    def remember(self) -> None:
        """Keep what was measured."""
        for name, batches in self._batches.items():
            if isinstance(batches, AutotunedBatches):
                self._timings.put(self._key_of(name), batches.samples)

    def _choose(self, rows: int) -> str:
        """A backend with a size that is new and that these rows fill; else the fastest."""
        known: dict[str, Samples] = {}
        for name, batches in self._batches.items():
            if isinstance(batches, AutotunedBatches):
                known[name] = batches.samples
                trial = batches.trial(rows)
                if trial is not None and batches.samples.get(trial, Sample()).calls < TRIES:
                    return name
        return fastest(known, rows) if len(known) > 1 else self._turn

    def _worth_trying(self, name: str) -> bool:
        """Whether `auto` measures a backend beside torch: where that is cheap.

        A network's copies must be small beside the device's memory; a backend whose first use
        takes minutes must have been measured already, when it was asked for by name.
        """
        parameters = self._family.network(self._model).parameters()
        weights = sum(one.numel() * one.element_size() for one in parameters)
        cheap = backends.BACKENDS[name].tried and 8 * weights <= self._memory
        return cheap or best(self._timings.get(self._key_of(name))) is not None

    def _batches_of(self, name: str) -> FixedBatches | AutotunedBatches:
        if self._options.fixed_batch is not None:
            return FixedBatches(self._options.fixed_batch)
        return AutotunedBatches(
            self._timings.get(self._key_of(name)),
            self._sizes[name],
            static=backends.denoiser_class(name).static,
        )

    def _key_of(self, name: str) -> str:
        from importlib.metadata import version

        library = backends.BACKENDS[name].library
        return f"{self._key} {name} {library} {version(library)}"

    def _sizes_of(self, name: str) -> tuple[int, ...]:
        if self._options.fixed_batch is not None:
            return (self._options.fixed_batch,)
        network = self._family.network(self._model)
        return backends.denoiser_class(name).sizes(network, self._memory)

    def _denoiser(self, name: str, skip: tuple[int, ...]) -> Denoiser:
        from pipelines.backends.base import NetworkCache

        sizes = self._sizes[name]
        prepared = self._model.prepared
        if (name, sizes, skip) not in prepared:
            place = NetworkCache(
                self._model.fingerprint,
                # A sheet of LoRA scales must not leave as many copies of the network on disk.
                None
                if self._options.cache is None or self._model.base
                else self._options.cache / name,
            )
            network = self._family.network(self._model, skip)
            prepared[name, sizes, skip] = backends.denoiser_class(name)(network, place, sizes)
        found: Denoiser = prepared[name, sizes, skip]
        return found
