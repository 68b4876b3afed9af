"""Stage 5: figures on the exported model, as a table and as JSON.

    python -m training.evaluate --model models/emoji

What each figure says, and what it does not:
- `vae_psnr_db`: reconstructions of drawings that the autoencoder never saw, on white.
- `flat_error`: mean |error| of reconstructed plain pictures of the nine backgrounds, in 0..255.
- `background_obeyed`: the mean colour of the four 8-pixel corners, which no drawing touches, is
  closest to the asked background among nine. Chance for a model that ignores captions: the share
  of the most asked one, `background_most_asked`.
- `concept_top1`, `concept_top5`: among the real drawings of all concepts in the asked style on the
  asked background, the asked one is the nearest, or one of the five nearest. The distance is plain
  (see `features`): it knows colours and outlines and nothing of meaning, so a good but different
  drawing counts as wrong, and a blob of the right colours may count as right.
- `ceiling_top1`: the same for the autoencoder's reconstructions of the very drawings asked for.

Every asked drawing was trained on: the figures measure recall, not invention.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.data.captions import BACKGROUND_NAMES, article
from training.data.colours import background_rgb, nearest_background
from training.data.concepts import Concept, load_concepts
from training.data.drawings import SIZE, STYLES, Drawings, compose, load_drawings
from training.data.sources import cache_dir
from training.sampling import generate
from training.vae import psnr_on_white, split_rows

SMALL = 32
CORNER = 8
STEPS = 25
GUIDANCE = 5.0


@dataclass(frozen=True)
class Ask:
    """One caption and the drawing it asks for; `concept` is an index."""

    concept: int
    style: str
    background: str
    caption: str


def make_asks(concepts: Sequence[Concept], count: int, seed: int = 0) -> list[Ask]:
    """`count` captions on different concepts; styles in turn; every second background white."""
    rng = np.random.default_rng(seed)
    asks = []
    for row, concept in enumerate(rng.permutation(len(concepts))[:count]):
        style = STYLES[row % len(STYLES)]
        background = "white" if row % 2 == 0 else BACKGROUND_NAMES[1 + row // 2 % 8]
        label = concepts[concept].label
        text = f"{article(label)} {label}, {style} style"
        if background != "white":
            text += f", on {article(background)} {background} background"
        asks.append(Ask(int(concept), style, background, text))
    return asks


def features(pictures: Tensor) -> Tensor:
    """What the concept check compares: blurred colours and outlines at 32 px.

    Math: f = (blur(x), 2·∂_u x, 2·∂_v x), blur = 3×3 mean; the distance is the mean of squares.
    Args:
        pictures: (N, 3, 32, 32) in 0..1.
    Returns: (N, features).
    """
    blurred = F.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    edges = (2 * pictures.diff(dim=-1), 2 * pictures.diff(dim=-2))
    return torch.cat([blurred.flatten(1), *(edge.flatten(1) for edge in edges)], dim=1)


def shrink(pixels: NDArray[np.float32]) -> Tensor:
    """(N, 128, 128, C) in 0..255 to (N, C, 32, 32) in 0..1, by area."""
    return F.avg_pool2d(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, SIZE // SMALL)


def small_drawings(drawings: Drawings, concepts: Sequence[Concept], style: str) -> Tensor:
    """Every concept's drawing at 32 px, (N, 4, 32, 32): colours times alpha, then alpha."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    rows = [row_of[concept.code, style] for concept in concepts]
    rgba = np.stack([np.asarray(drawings.pixels[row]) for row in rows]).astype(np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    return shrink(rgba)


def rank(picture: Tensor, ask: Ask, small: dict[str, Tensor], colour: tuple[int, int, int]) -> int:
    """How many concepts' drawings are nearer to the picture, (3, 32, 32), than the asked one."""
    table = small[ask.style]
    background = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1) / 255
    real = features(table[:, :3] + (1 - table[:, 3:]) * background)
    distances = (real - features(picture[None])).square().mean(dim=1)
    return int((distances < distances[ask.concept]).sum())


def corner_colour(pixels: NDArray[np.float32]) -> tuple[float, float, float]:
    """The mean colour of the four corners of one picture, (128, 128, 3)."""
    ends = np.r_[0:CORNER, SIZE - CORNER : SIZE]
    red, green, blue = pixels[np.ix_(ends, ends)].mean(axis=(0, 1)).tolist()
    return red, green, blue


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (N, 128, 128, 3) in 0..255, encoded and decoded."""
    found = []
    for start in range(0, len(pixels), 10):
        chunk = torch.from_numpy(pixels[start : start + 10]).permute(0, 3, 1, 2) / 127.5 - 1
        output = vae.decode(vae.encode(chunk).latent_dist.mode()).sample
        found.append(((output.permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).numpy())
    return np.concatenate(found)


def flat_error(vae: AutoencoderKL) -> float:
    """Mean absolute error over reconstructed plain pictures of all backgrounds, in 0..255."""
    colours = np.asarray([background_rgb(name) for name in BACKGROUND_NAMES], np.float32)
    plain = np.broadcast_to(colours[:, None, None], (len(colours), SIZE, SIZE, 3)).copy()
    return float(np.abs(reconstruct(vae, plain) - plain).mean())


def judge(
    pictures: NDArray[np.float32], asks: Sequence[Ask], small: dict[str, Tensor]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each picture, the rank of the concept asked for and whether its background is right."""
    tiny = shrink(pictures)
    ranks = [
        rank(picture, ask, small, background_rgb(ask.background))
        for picture, ask in zip(tiny, asks, strict=True)
    ]
    obeyed = [
        nearest_background(corner_colour(picture)) == ask.background
        for picture, ask in zip(pictures, asks, strict=True)
    ]
    return np.asarray(ranks), np.asarray(obeyed)


def as_array(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Pictures as (N, 128, 128, 3) float32 in 0..255."""
    return np.stack([np.asarray(p.convert("RGB"), np.float32) for p in pictures])


def evaluate(model: Path, cache: Path, count: int, steps: int) -> dict[str, float]:
    """All figures, by name."""
    begun = time.monotonic()
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    _, held_out = split_rows(drawings)
    asks = make_asks(concepts, count)
    small = {style: small_drawings(drawings, concepts, style) for style in STYLES}
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    truth = np.stack(
        [
            compose(
                np.asarray(drawings.pixels[row_of[concepts[ask.concept].code, ask.style]]),
                background_rgb(ask.background),
            )
            for ask in asks
        ]
    )
    ceiling, _ = judge(reconstruct(pipeline.vae, truth), asks, small)
    pictures = generate(pipeline, [a.caption for a in asks], 0, steps, GUIDANCE, batch=20)
    ranks, obeyed = judge(as_array(pictures), asks, small)
    named = np.asarray([ask.background != "white" for ask in asks])
    most_asked = Counter(ask.background for ask in asks).most_common(1)[0][1]
    return {
        "vae_psnr_db": round(psnr_on_white(pipeline.vae, drawings, held_out), 2),
        "vae_held_out_drawings": len(held_out),
        "flat_error": round(flat_error(pipeline.vae), 2),
        "captions": len(asks),
        "concepts": len(concepts),
        "background_obeyed": round(float(obeyed.mean()), 3),
        "background_obeyed_named": round(float(obeyed[named].mean()), 3),
        "background_most_asked": round(most_asked / len(asks), 3),
        "concept_top1": round(float((ranks < 1).mean()), 3),
        "concept_top5": round(float((ranks < 5).mean()), 3),
        "concept_median_rank": float(np.median(ranks)) + 1,
        "ceiling_top1": round(float((ceiling < 1).mean()), 3),
        "chance_top1": round(1 / len(concepts), 4),
        "chance_top5": round(5 / len(concepts), 4),
        "steps": steps,
        "guidance": GUIDANCE,
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="default: evaluation.json in the model's folder")
    args = parser.parse_args()
    figures = evaluate(args.model, args.cache, args.captions, args.steps)
    for name, value in figures.items():
        print(f"{name:24} {value:g}")
    target = args.json or args.model / "evaluation.json"
    target.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
