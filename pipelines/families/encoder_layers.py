"""Encoder layers: which of CLIP's layers a text's states are taken from (clip skip)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """Layer of a CLIP text encoder, counted from its end.

    Attributes:
        from_end: 0 is the last layer.
        normed: its states go through the encoder's last normalisation, as those of the last do.
    """

    from_end: int
    normed: bool

    @property
    def inner(self) -> bool:
        """Whether it is any other than the encoder's own output."""
        return not (self.normed and self.from_end == 0)

    def states(self, encoder: Any, output: Any) -> Tensor:
        """Take its states, (texts, tokens, D), from an output with `hidden_states` if `inner`."""
        if not self.inner:
            own: Tensor = output[0]
            return own
        states: Tensor = output.hidden_states[-1 - self.from_end]
        if self.normed:
            # transformers keeps the layers in `text_model`, or, in newer versions, in the encoder.
            states = getattr(encoder, "text_model", encoder).final_layer_norm(states)
        return states


def final_layer(clip_skip: int) -> Layer:
    """Choose the layer of Stable Diffusion 1.x and 2.x, as its pipeline in diffusers does."""
    return Layer(clip_skip, normed=True)


def inner_layer(clip_skip: int) -> Layer:
    """Choose the layer of SDXL and SD 3: that before the last, without normalisation."""
    return Layer(1 + clip_skip, normed=False)
