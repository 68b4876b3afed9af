"""Semantic segmentation: colours each pixel by its class, of ADE20K's 150."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import ModelUnavailable
from pipelines.preprocessors.base import Preprocessor
from pipelines.preprocessors.networks import load
from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.weights import HUB_FILES, Hub, Weights

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size

WEIGHTS = Weights(
    name="segmentation",
    files=HUB_FILES,
    licence="NVIDIA's research licence",
    hub=Hub(
        "nvidia/segformer-b0-finetuned-ade-512-512", "489d5cd81a0b59fab9b7ea758d3548ebe99677da"
    ),
)


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Draw the likeliest class of each pixel in its colour.

    Any transformers model for semantic segmentation with ADE20K's classes may lie in the folder.
    Raises: ModelUnavailable: if there is none, or one with other classes.
    """
    import numpy as np
    import torch
    from PIL import Image

    folder = WEIGHTS.find()[0].parent
    network = load(folder, "AutoModelForSemanticSegmentation")
    colours = np.asarray([entry.colour for entry in ade20k()], np.uint8)
    if network.model.config.num_labels != len(colours):
        raise ModelUnavailable(
            f"{folder} tells {network.model.config.num_labels} classes apart; the palette has "
            f"{len(colours)} (ADE20K): put a model trained on ADE20K there"
        )
    width, height = picture.size
    logits = network.look(picture).logits.float()
    grown = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear")
    return Image.fromarray(colours[grown[0].argmax(0).numpy()])


PREPROCESSOR = Preprocessor(
    name="segmentation",
    label="Segments (ADE20K)",
    help="What is where: each thing in its class's colour (pipelines/preprocessors/ade20k.txt).",
    detect=detect,
    cost="about a second, 15 MB of weights",
    edited_as="segment",
    nets=("seg",),
    source="Xie et al. 2021, arXiv:2105.15203; Zhou et al. 2017, arXiv:1608.05442",
    blends=False,
    sized_by="picture",
    weights=WEIGHTS,
)
