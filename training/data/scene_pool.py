"""Pool of composed scenes' latents, made as a run goes and met again: a ring of the last many.

A scene is its seed, so the pool keeps a seed and latents a row; the caption is told anew each time,
with another random part named. The ring lies on disk and survives the process.
"""

from copy import deepcopy
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from training.data.bank import Bank
from training.data.canvas import draw_scene
from training.data.composition import Composer
from training.data.phrases import caption

CHUNK = 4


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, pixels: NDArray[np.uint8]) -> Tensor:
    """Scaled posterior means of pictures (N, H, W, 3), float32, computed in the encoder's dtype."""
    scaled = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).to(vae.dtype)
    scaled = scaled.contiguous(memory_format=torch.channels_last)
    chunks = torch.split(scaled, CHUNK)
    found = [vae.encode(chunk).latent_dist.mode().float() for chunk in chunks]
    latents: Tensor = torch.cat(found) * vae.config.scaling_factor
    return latents


def fast_encoder(vae: AutoencoderKL) -> AutoencoderKL:
    """A copy for `encode_scenes` in bfloat16, half again as fast as autocast."""
    copy: AutoencoderKL = deepcopy(vae).bfloat16().to(memory_format=torch.channels_last)
    return copy


def fingerprint(composer: Composer, stream: int, count: int = 6) -> str:
    """Of what the first seeds give: other code or another bank makes other scenes of a seed."""
    found = blake2b(digest_size=16)
    for number in range(count):
        scene = composer.scene((stream, number))
        found.update(repr(scene).encode())
        found.update(draw_scene(composer.bank, scene).pixels.tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Rows:
    """Scenes for one step: latents, (B, C, h, w) float32, and their captions."""

    latents: Tensor
    captions: list[str]


class Pool:
    """The ring.

    Args:
        folder: keeps `latents.npy` and `seeds.npy`, as long as `fingerprint` stays.
        composer: draws the scenes.
        vae: its encoder makes the latents.
        stream: scenes of one stream are not those of another.
        capacity: rows that are kept.
    """

    def __init__(
        self,
        folder: Path,
        composer: Composer,
        vae: AutoencoderKL,
        stream: int,
        capacity: int,
        rng: np.random.Generator,
        size: int = 256,
    ) -> None:
        self._composer, self._vae, self._rng = composer, vae, rng
        self._stream, self._capacity = stream, capacity
        folder.mkdir(parents=True, exist_ok=True)
        side = size // 2 ** (len(vae.config.block_out_channels) - 1)
        shape = (capacity, vae.config.latent_channels, side, side)
        paths, recipe = (folder / "latents.npy", folder / "seeds.npy"), folder / "recipe.txt"
        print_now = fingerprint(composer, stream)
        same = recipe.exists() and recipe.read_text() == print_now
        if not (same and all(path.exists() for path in paths)):
            recipe.write_text(print_now)
            np.lib.format.open_memmap(paths[0], "w+", np.float16, shape)
            seeds = np.lib.format.open_memmap(paths[1], "w+", np.int64, (capacity,))
            seeds[:] = -1
        self._latents = np.lib.format.open_memmap(paths[0], "r+")
        self._seeds = np.lib.format.open_memmap(paths[1], "r+")

    @property
    def bank(self) -> Bank:
        """Where the drawings are."""
        return self._composer.bank

    def __len__(self) -> int:
        return min(self.made, self._capacity)

    @property
    def made(self) -> int:
        """How many scenes were ever drawn."""
        return int(self._seeds.max()) + 1

    def fill(self, count: int) -> None:
        """Draw and encode `count` new scenes; the oldest make room."""
        first = self.made
        numbers = range(first, first + count)
        scenes = [self._composer.scene((self._stream, number)) for number in numbers]
        pixels = np.stack([draw_scene(self.bank, scene).pixels for scene in scenes])
        latents = encode_scenes(self._vae, pixels).half().numpy()
        for number, row in zip(numbers, latents, strict=True):
            self._latents[number % self._capacity] = row
            self._seeds[number % self._capacity] = number

    def draw(self, count: int, fresh: int, caption_dropout: float = 0.0) -> Rows:
        """`count` random rows after `fresh` new ones were made, which are among them."""
        before = self.made
        if fresh:
            self.fill(fresh)
        new = np.arange(before, self.made) % self._capacity
        old = self._rng.integers(len(self), size=max(0, count - len(new)))
        at = np.concatenate([new, old])[:count]
        told = [self._told(int(self._seeds[i])) for i in at]
        said = ["" if self._rng.random() < caption_dropout else text for text in told]
        return Rows(torch.from_numpy(self._latents[at].astype(np.float32)), said)

    def _told(self, number: int) -> str:
        return caption(self.bank, self._composer.scene((self._stream, number)), self._rng)
