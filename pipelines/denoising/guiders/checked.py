"""Checked guider: holds a guider to its contract, and names it where it breaks that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from pipelines.denoising.guiders.base import Guider, Prediction, Step, Text
from pipelines.errors import ContactSheetError, InvalidRequest

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkInputs:
    """What a network takes beside latents, time and a text.

    Attributes:
        layers: how many it has that may be skipped.
        guidance: whether it is told a guidance.
    """

    layers: int = 0
    guidance: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """Guider under a check: what it asks for before it is computed, what it returns after that.

    A guider is anyone's code, and its rows are computed together with those of other cells: what
    is wrong must come out in its own cell, before it reaches a batch or a scheduler.

    Attributes:
        name: of the guider, as messages say it.
        rows: predictions of one evaluation, at most.
        takes: what the network takes.
        passed: predictions that were found right, the newest last.
    """

    inner: Guider
    name: str
    rows: int
    takes: NetworkInputs
    passed: list[tuple[Prediction, ...]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def build(
        cls, name: str, rows: int, takes: NetworkInputs, build: Callable[[], Guider]
    ) -> Checked:
        """Build a guider under a check. Raises: InvalidRequest: if it cannot be built."""
        with _named(name, "could not be built"):
            inner = build()
        for method in ("predictions", "combine"):
            if not callable(getattr(inner, method, None)):
                raise InvalidRequest(
                    f"guider {name!r} was built as {type(inner).__name__}, without {method}(); "
                    "its row's `build` must return a Guider"
                )
        checked = cls(inner, name, rows, takes)
        unknown = sorted(checked.texts - set(get_args(Text)))
        if unknown:
            raise InvalidRequest(
                f"guider {name!r} has {unknown[0]!r} among its `texts`; "
                f"there are {', '.join(get_args(Text))}"
            )
        return checked

    @property
    def texts(self) -> frozenset[Text]:
        with _named(self.name, "could not say its texts"):
            return frozenset(self.inner.texts)

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        """Ask the guider for predictions. Raises: InvalidRequest: if they break its contract."""
        # Without `_named` and checked once: a forecast asks millions of times.
        try:
            asked = tuple(self.inner.predictions(index, total))
            fault = None if asked and asked in self.passed else self._fault(asked)
        except ContactSheetError:
            raise
        except Exception as error:
            what = f"could not name its predictions of evaluation {index}"
            raise _explained(self.name, what, error) from error
        if fault is not None:
            raise InvalidRequest(f"guider {self.name!r} {fault}")
        if asked not in self.passed:
            self.passed[:] = [*self.passed[-3:], asked]
        return asked

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        """Combine by the guider. Raises: ContactSheetError: if the result is not as outputs are."""
        with _named(self.name, f"could not combine outputs at evaluation {step.asked.index}"):
            guided = self.inner.combine(outputs, step)
        like = next(iter(outputs.values()))
        wanted = _kind(step.asked.x.shape, like)
        shape = getattr(guided, "shape", None)
        came = type(guided).__name__ if shape is None else _kind(shape, guided)
        if came != wanted:
            raise ContactSheetError(
                f"guider {self.name!r} combined outputs into {came}; it must be {wanted}"
            )
        return guided

    def _fault(self, asked: tuple[Prediction, ...]) -> str | None:
        """What is wrong with its predictions, as the end of a sentence."""
        if not asked:
            return "asks for no prediction; it must ask for one at least"
        if len(asked) > self.rows:
            return f"asks for {len(asked)} predictions at once; its row says {self.rows} at most"
        for other in (one for one in asked if not isinstance(one, Prediction)):
            return f"asks for {other!r}, which is no Prediction"
        names = [one.name for one in asked]
        for one in asked:
            if not one.name.isidentifier():
                return f"names a prediction {one.name!r}; take letters, digits and underscores"
            if names.count(one.name) > 1:
                return f"asks for {one.name!r} twice; each prediction has a name of its own"
            if one.text not in self.inner.texts:
                texts = ", ".join(sorted(self.inner.texts))
                return f"asks for the text {one.text!r}, which its `texts` lack: {texts}"
            if one.skip and not set(one.skip) <= set(range(self.takes.layers)):
                layers = ", ".join(map(str, one.skip))
                has = f"has 0 to {self.takes.layers - 1}" if self.takes.layers else "skips none"
                return f"wants to skip layers {layers}; the network {has}"
            if one.guidance is not None and not self.takes.guidance:
                return f"tells a guidance of {one.guidance:g}; the network takes none"
        return None


def _kind(shape: tuple[int, ...], tensor: Tensor) -> str:
    return f"{tuple(shape)} {tensor.dtype} on {tensor.device}"


@contextmanager
def _named(name: str, what: str) -> Iterator[None]:
    """Say in any error but our own which guider it comes from, and what came of that."""
    try:
        yield
    except ContactSheetError:
        raise
    except Exception as error:
        raise _explained(name, what, error) from error


def _explained(name: str, what: str, error: Exception) -> InvalidRequest:
    log.error("guider %r %s", name, what, exc_info=error)
    return InvalidRequest(f"guider {name!r} {what}: {type(error).__name__}: {error}")
