"""Monocular depth estimation: draws near as white and far as black."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Preprocessor
from pipelines.preprocessors.networks import Network, load
from pipelines.preprocessors.weights import HUB_FILES, Hub, Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size

WEIGHTS = Weights(
    name="depth",
    files=HUB_FILES,
    licence="Apache-2.0",
    hub=Hub(
        "depth-anything/Depth-Anything-V2-Small-hf", "5426e4f0f36572d16453bbda7a8389317b1bef99"
    ),
)
METRIC_KINDS = frozenset({"zoedepth", "depth_pro"})
"""Networks that answer with a distance; others with nearness, up to scale and shift."""


def nearness(picture: Image) -> NDArray[np.float32]:
    """Estimate how near each pixel is, 0 (farthest) to 1 (nearest), (H, W).

    Any transformers model for depth may lie in the folder.
    Raises: ModelUnavailable: if there is none.
    """
    import numpy as np
    import torch

    network = load(WEIGHTS.find()[0].parent, "AutoModelForDepthEstimation")
    answer = network.look(picture).predicted_depth[:, None].float()
    width, height = picture.size
    grown = torch.nn.functional.interpolate(answer, (height, width), mode="bicubic")
    found: NDArray[np.float32] = grown[0, 0].numpy()
    if _is_metric(network):
        found = np.reciprocal(found.clip(1e-3))
    low, high = float(found.min()), float(found.max())
    return np.asarray((found - low) / ((high - low) or 1.0), np.float32)


def _is_metric(network: Network) -> bool:
    config = network.model.config
    kind = getattr(config, "depth_estimation_type", "relative")
    return kind == "metric" or config.model_type in METRIC_KINDS


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Draw nearness as grey, near = white."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((nearness(picture) * 255).round().astype(np.uint8))


PREPROCESSOR = Preprocessor(
    name="depth",
    label="Depth",
    help="What is near and what is far: near is white. Keeps the room, frees the surfaces.",
    detect=detect,
    cost="about 2 s, 100 MB of weights",
    edited_as="depth",
    source="Yang et al. 2024, arXiv:2406.09414",
    sized_by="picture",
    weights=WEIGHTS,
)
