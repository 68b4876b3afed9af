"""What is known of ControlNets for a family, and which families take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.denoising.row import Row
    from pipelines.families.base import Model

_CLASSES = {
    "sd": ("pipelines.controlnet.unet", "UNetControls"),
    "sdxl": ("pipelines.controlnet.unet", "XLControls"),
    "sd3": ("pipelines.controlnet.transformer", "SD3Controls"),
    "flux": ("pipelines.controlnet.transformer", "FluxControls"),
}
"""Family id to what runs its ControlNets; a family that is not here takes none. The network of
one that is takes residuals after what `Family.inputs` gives."""


class Controls(Protocol):
    """ControlNets of one family. Implementations hold no state."""

    classes: tuple[str, ...]
    """diffusers classes of its ControlNets, as their config.json names them."""
    modes: tuple[str, ...]
    """Modes of a `Control` that they know."""
    prompted: bool
    """Whether a row without the prompt gets what they add to the one with it."""

    def misfit(
        self, configs: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
    ) -> str | None:
        """Why a ControlNet cannot steer a model, as the end of a sentence; None if it can.

        Args:
            configs: the model's components', by name.
            config: the ControlNet's.
        """

    def pooled(self, net: Any) -> bool:
        """Whether a ControlNet adds the same everywhere in the picture."""

    def told(self, net: Any) -> bool:
        """Whether a ControlNet takes the distilled guidance as an input."""

    def hint(self, model: Model, net: Any, image: Image) -> Tensor:
        """What a ControlNet makes of a map, (1, …): all that does not depend on x, t or text."""

    def residuals(
        self, model: Model, net: Any, rows: Sequence[Row], hints: Tensor
    ) -> tuple[Tensor, ...]:
        """A ControlNet's outputs at strength 1, one tensor a depth of the denoiser, in the order
        its network takes them; a U-Net's innermost last. At depths behind the last it adds nothing.

        Args:
            hints: (rows, …), one a row.
        """


@cache
def controls_of(family: str) -> Controls | None:
    """What runs a family's ControlNets; None if nothing does."""
    if family not in _CLASSES:
        return None
    module, name = _CLASSES[family]
    controls: Controls = getattr(import_module(module), name)()
    return controls
