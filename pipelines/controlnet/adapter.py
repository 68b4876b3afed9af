"""ControlNet adapter protocol: says which ControlNets fit a family's models, and runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.families import FamilySpec, load_family
from pipelines.families.registry import built

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.denoising.row import Row
    from pipelines.families.base import LoadedModel
    from pipelines.families.capabilities import Configs


class ControlNetAdapter(Protocol):
    """ControlNet adapter: checks, embeds maps for and runs the ControlNets of one family.

    Implementations hold no state but the family that they are built with.
    """

    classes: tuple[str, ...]
    """diffusers classes of its ControlNets, as their config.json names them."""
    modes: tuple[str, ...]
    """Modes of a `Control` that they know."""
    prompted: bool
    """Whether a row without the prompt gets what they add to the one with it."""

    def misfit(self, configs: Configs, config: Mapping[str, Any]) -> str | None:
        """Say why a ControlNet cannot steer a model, as the end of a sentence; None if it can.

        Args:
            configs: the model's components', by name.
            config: the ControlNet's.
        """

    def pools_globally(self, net: Any) -> bool:
        """Whether a ControlNet adds the same everywhere in the picture."""

    def takes_guidance(self, net: Any) -> bool:
        """Whether a ControlNet takes the distilled guidance as an input."""

    def embed_map(self, model: LoadedModel, net: Any, image: Image) -> Tensor:
        """Embed a map, (1, …): all a ControlNet does that does not depend on x, t or text."""

    def residuals(
        self, model: LoadedModel, net: Any, rows: Sequence[Row], embeddings: Tensor
    ) -> tuple[Tensor, ...]:
        """Compute a ControlNet's outputs at strength 1, one tensor a depth of the denoiser.

        They come in the order in which the network takes them, a U-Net's innermost last. At
        depths behind the last it adds nothing.

        Args:
            embeddings: (rows, …), one a row.
        """


@cache
def controls_of(spec: FamilySpec) -> ControlNetAdapter | None:
    """The adapter of a family's ControlNets, imported at the first call; None if it has none.

    Raises: ModelUnavailable: if the family's row names no adapter.
    """
    if spec.control_adapter is None:
        return None
    controls: ControlNetAdapter = built(
        spec, "control_adapter", spec.control_adapter, load_family(spec)
    )
    return controls
