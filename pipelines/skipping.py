"""Skip-layer guidance: away from what the network says with some of its layers left out.

Math: g ← g + k·(c − c′), c with the prompt, c′ with the prompt and without the layers
Source: Stability AI's SD 3.5; `skip_guidance_layers` of diffusers' StableDiffusion3Pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    from pipelines.types import Request

FIELD = "skip_layers"
NONE = "none"
"""A value of a `skip_layers` axis: the picture without it."""

_TEXT = re.compile(r"^\s*\d+(?:[\s+,]+\d+)*\s*$")


def _read(value: Any) -> Any:
    """Numbers in order, each once, so that equal means equal; from text such as `7+8+9` too."""
    if isinstance(value, str):
        if value.strip().lower() in ("", NONE):
            return ()
        if not _TEXT.match(value):
            return value
        value = [int(number) for number in re.findall(r"\d+", value)]
    whole = isinstance(value, Sequence) and all(type(one) is int for one in value)
    return tuple(sorted(set(value))) if whole else value


Layers = Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], BeforeValidator(_read)]


def layers_text(layers: Sequence[int]) -> str:
    """Layers as they are read again, such as `7+8+9`."""
    return "+".join(map(str, layers)) or NONE


@dataclass(frozen=True, slots=True)
class Skip:
    """What one cell skips, how strongly that counts, and when.

    Attributes:
        first, last: evaluations between which it acts, both left out.
    """

    layers: tuple[int, ...]
    scale: float
    first: float
    last: float

    @classmethod
    def of(cls, request: Request) -> Skip | None:
        """None where nothing is skipped.

        The window is a share of the steps, in evaluations, as diffusers counts: a sampler that
        evaluates twice a step comes to its end after half as many steps.
        """
        if not request.skip_layers:
            return None
        first, last = request.skip_layer_start, request.skip_layer_stop
        steps = request.steps
        return cls(request.skip_layers, request.skip_layer_scale, steps * first, steps * last)

    def at(self, index: int) -> bool:
        """Whether it acts at an evaluation."""
        return self.first < index < self.last
