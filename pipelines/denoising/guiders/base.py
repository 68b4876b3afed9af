"""Guider protocol: the predictions that an evaluation needs, by name, and their combination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipelines.denoising.row import inside
from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.denoising.trajectory import Eval

Text = Literal["prompt", "negative", "empty"]
"""What a prediction is conditioned on: the prompt, the negative prompt, or no text at all."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One output of the network that a guider asks for: one row of the denoiser.

    Attributes:
        name: its output reaches `Guider.combine` under it; letters, digits and underscores.
            `cond` and `uncond` are the plain ones with the prompt and with the negative prompt;
            skip-layer guidance and rescale need `cond`.
        skip: layers of the network that are left out.
        guidance: the guidance that the network takes as an input; None where it takes none.
        clause: which of the prompt's clauses it sees, those that AND joins.
    """

    name: str
    text: Text = "prompt"
    skip: tuple[int, ...] = ()
    guidance: float | None = None
    clause: int = 0


COND = Prediction("cond")
UNCOND = Prediction("uncond", "negative")


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation as `Guider.combine` sees it: where the trajectory stands.

    Attributes:
        asked: x, t, σ, and the evaluation's place in the trajectory.
        denoised: predicts the clean latents, (1, C, h, w), from an output of the network at x.
    """

    asked: Eval
    denoised: Callable[[Tensor], Tensor]


class Guider(Protocol):
    """A guidance method on one trajectory. Each trajectory has its own, which may hold state.

    One that needs another way to compute a row, such as another attention, adds a field to
    `Prediction` and to `Row`, whose `kind` keeps such rows in batches of their own.
    """

    @property
    def texts(self) -> frozenset[Text]:
        """Texts that its predictions see at any evaluation; they are encoded beforehand."""

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        """Predictions that the evaluation `index` of `total` needs, one at least, names unique.

        Depends on nothing but the arguments, as the cost of a run is counted with it beforehand.
        """

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        """Combine the predictions' outputs; called once an evaluation, in their order.

        Args:
            outputs: (1, C, h, w) each, by the names of this evaluation's `predictions`. They
                are its own: no other cell sees what is written into them.
        Returns: the guided output, same shape, dtype and device.
        """


def scale_at(scale: float, start: float, stop: float, index: int, total: int) -> float:
    """The guidance scale of one evaluation: `scale` inside its window, 1 (off) outside."""
    return scale if inside(start, stop, index, total) else 1.0


def require_cond(asked: Sequence[Prediction], field: str) -> None:
    """Check that a guider asks for `cond`, beside which a modifier puts something.

    Raises: InvalidRequest: if it does not, naming the Request field that wants it.
    """
    names = [one.name for one in asked]
    if COND.name not in names:
        raise InvalidRequest(
            f"{field} needs the prediction {COND.name!r}, but the guider asks for "
            f"{', '.join(names)}; leave {field} out or choose another guider"
        )


def row_count(guider: Guider, total: int) -> int:
    """Count the denoiser rows that a trajectory of `total` evaluations asks for."""
    return sum(len(guider.predictions(index, total)) for index in range(total))
