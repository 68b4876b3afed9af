"""ControlNet adapter protocol: what a family's ControlNets see, fit and add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.families import FamilySpec, load_family

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.denoising.row import Row
    from pipelines.families.base import Model
    from pipelines.families.capabilities import Configs


class Controls(Protocol):
    """ControlNets of one family. Implementations hold no state but the family."""

    classes: tuple[str, ...]
    """diffusers classes of its ControlNets, as their config.json names them."""
    modes: tuple[str, ...]
    """Modes of a `Control` that they know."""
    prompted: bool
    """Whether a row without the prompt gets what they add to the one with it."""

    def misfit(self, configs: Configs, config: Mapping[str, Any]) -> str | None:
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
def controls_of(spec: FamilySpec) -> Controls | None:
    """What runs a family's ControlNets, imported at the first call; None if nothing does."""
    if spec.control_adapter is None:
        return None
    controls: Controls = resolve_name(spec.control_adapter)(load_family(spec))
    return controls
