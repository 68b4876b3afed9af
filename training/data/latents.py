"""Every drawing in every background as normalised latents, encoded once and cached.

The VAE's latents are first made zero-mean and of equal variance channel by channel. Both maps are
1×1 convolutions that an `AutoencoderKL` already ends and begins with, so they are folded into its
`quant_conv` and `post_quant_conv`; one number, `scaling_factor`, then gives unit variance.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.data.captions import BACKGROUND_NAMES
from training.data.colours import background_rgb
from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings, compose
from training.data.scenes import Scenes

CHUNK = 32
log = logging.getLogger("training")


@dataclass(frozen=True)
class Latents:
    """The training set of the UNet.

    Args:
        values: drawings, (concepts, styles, backgrounds, 4, 16, 16) float16, unit variance.
        scenes: figures and solids, (N, 4, 16, 16) float16.
        vae: the autoencoder with the normalisation folded in and `scaling_factor` set.
    """

    values: Tensor
    scenes: Tensor
    vae: AutoencoderKL


@torch.no_grad()
def fold_normalisation(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Make the latents zero-mean with equal variance by channel, changing no picture.

    Math: z' = (z − m)·s̄/s with s̄ = √(mean s²); the decoder gets z = z'·s/s̄ + m back.
    Args:
        mean, std: of each latent channel, (4,).
    """
    scale = std.square().mean().sqrt() / std
    count = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:count] *= scale.view(-1, 1, 1, 1)
    quant.bias[:count] = (quant.bias[:count] - mean) * scale
    quant.bias[count:] += 2 * scale.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight /= scale.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=float(1 / std.square().mean().sqrt()))


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pixels: NDArray[Any]) -> Tensor:
    """Posterior means of pictures (N, 128, 128, 3) in 0..255, (N, 4, 16, 16)."""
    scaled = torch.from_numpy(np.asarray(pixels, np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
    mean: Tensor = vae.encode(scaled).latent_dist.mode()
    return mean


def _encode_drawings(vae: AutoencoderKL, drawings: Drawings, concepts: Sequence[Concept]) -> Tensor:
    """Every concept, style and background, (C, S, B, 4, 16, 16)."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    colours = [background_rgb(name) for name in BACKGROUND_NAMES]
    found = []
    for concept in concepts:
        for style in STYLES:
            rgba = np.asarray(drawings.pixels[row_of[concept.code, style]])
            pictures = np.stack([compose(rgba, colour) for colour in colours])
            found.append(encode_pictures(vae, pictures))
    return torch.unflatten(torch.stack(found), 0, (len(concepts), len(STYLES)))


def _encode_scenes(vae: AutoencoderKL, scenes: Scenes) -> Tensor:
    """Every scene, (N, 4, 16, 16)."""
    starts = range(0, len(scenes.captions), CHUNK)
    return torch.cat([encode_pictures(vae, scenes.pixels[i : i + CHUNK]) for i in starts])


def _normalise(raw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(..., 4, H, W) less the channels' means, over their deviations, float16."""
    return ((raw - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)).half().contiguous()


def prepare_latents(
    vae: AutoencoderKL,
    drawings: Drawings,
    concepts: Sequence[Concept],
    scenes: Scenes,
    folder: Path,
) -> Latents:
    """The normalised training latents and autoencoder, encoded on the first call (ten minutes).

    Args:
        vae: as trained; it is normalised in place.
        folder: keeps `latents.safetensors`, used again while the concepts are the same.
    """
    path, labels = folder / "latents.safetensors", [concept.label for concept in concepts]
    index = folder / "latents.json"
    if not (path.exists() and index.exists() and json.loads(index.read_text()) == labels):
        raw, more = _encode_drawings(vae, drawings, concepts), _encode_scenes(vae, scenes)
        channels = raw.movedim(3, 0).flatten(1)
        mean, std = channels.mean(1), channels.std(1)
        log.info("latent mean %s std %s", mean.tolist(), std.tolist())
        tensors = {"values": _normalise(raw, mean, std), "scenes": _normalise(more, mean, std)}
        save_file({**tensors, "mean": mean, "std": std}, path)
        index.write_text(json.dumps(labels))
    kept = load_file(path)
    fold_normalisation(vae, kept["mean"], kept["std"])
    return Latents(kept["values"], kept["scenes"], vae)
