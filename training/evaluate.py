"""Stage 5: figures on the exported model, as a table and as JSON.

    python -m training.evaluate --model models/emoji

What each figure says, and what it does not:
- `vae_psnr_db`: reconstructions of drawings that the autoencoder never saw, on white.
- `flat_error`: mean |error| of reconstructed plain pictures of the nine backgrounds, in 0..255.
- `background_right`: the mean colour of the four 8-pixel corners, which no drawing touches, is
  closest to the asked background among nine. Half of the captions ask for none, which is white.
- `concept_top1`, `concept_top5`, `style_right`: what the classifier of `training.classifier` says,
  which has never seen a generated picture. `classifier_*` is its accuracy on real renderings it has
  never met, and `ceiling_*` on the autoencoder's reconstructions of the very drawings asked for.
- `unseen_words_top5`: the same for captions of one word each that stands in no caption
  (`training.data.synonyms`).
- `guidance_table`: see `guidance_table`.

Every asked drawing was trained on: the figures measure recall, not invention.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from training.classifier import Classifier, load_classifier, shrunk
from training.data.captions import BACKGROUND_NAMES, article
from training.data.colours import background_rgb, nearest_background
from training.data.concepts import Concept, load_concepts
from training.data.drawings import SIZE, STYLES, Drawings, compose, load_drawings
from training.data.sources import cache_dir
from training.data.synonyms import SYNONYMS
from training.pictures import split_rows
from training.sampling import generate
from training.vae import psnr_on_white

CORNER = 8
STEPS = 25
GUIDANCE = 5.0
SCALES = (1.0, 2.0, 3.0, 5.0, 8.0, 11.0, 15.0)
SEEDS = 4
TABLE = 12


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


@dataclass(frozen=True)
class Verdict:
    """What the classifier and the corners say of pictures, one entry a picture.

    Args:
        rank: how many concepts the classifier finds likelier than the asked one, (N,).
        likelihood: its probability of the asked concept, (N,).
        style, background: whether each is the asked one, (N,).
    """

    rank: NDArray[np.int64]
    likelihood: NDArray[np.float32]
    style: NDArray[np.bool_]
    background: NDArray[np.bool_]


@torch.no_grad()
def judge(pictures: NDArray[np.float32], asks: Sequence[Ask], classifier: Classifier) -> Verdict:
    """Judge pictures (N, 128, 128, 3) in 0..255 by what was asked for."""
    concept, style = classifier(shrunk(pictures))
    asked = torch.tensor([ask.concept for ask in asks])
    own = concept.gather(1, asked[:, None])
    styles = np.asarray([STYLES.index(ask.style) for ask in asks])
    backgrounds = [nearest_background(corner_colour(picture)) for picture in pictures]
    return Verdict(
        rank=(concept > own).sum(1).numpy(),
        likelihood=concept.softmax(1).gather(1, asked[:, None])[:, 0].numpy(),
        style=style.argmax(1).numpy() == styles,
        background=np.asarray(
            [found == ask.background for found, ask in zip(backgrounds, asks, strict=True)]
        ),
    )


def as_array(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Pictures as (N, 128, 128, 3) float32 in 0..255."""
    return np.stack([np.asarray(p.convert("RGB"), np.float32) for p in pictures])


def truth(asks: Sequence[Ask], concepts: Sequence[Concept], drawings: Drawings) -> NDArray[Any]:
    """The very drawings asked for, (N, 128, 128, 3) float32 in 0..255."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    rows = [row_of[concepts[ask.concept].code, ask.style] for ask in asks]
    return np.stack(
        [
            compose(np.asarray(drawings.pixels[row]), background_rgb(ask.background))
            for row, ask in zip(rows, asks, strict=True)
        ]
    )


def unseen_words(concepts: Sequence[Concept]) -> list[Ask]:
    """One caption for each word of `SYNONYMS`, asking for the concept it means."""
    index = {concept.label: i for i, concept in enumerate(concepts)}
    return [
        Ask(index[label], "3d", "white", f"{article(word)} {word}")
        for word, label in SYNONYMS.items()
    ]


def guidance_table(
    pipeline: StableDiffusionPipeline, asks: Sequence[Ask], classifier: Classifier
) -> list[dict[str, float]]:
    """For each scale: adherence, saturation and diversity, over some captions and four seeds.

    `adherence` is the classifier's mean probability of the asked concept; `saturation` the mean
    of max − min over RGB, in 0..255; `diversity` the mean distance of pixels between two seeds of
    one caption, in 0..255.
    """
    rows = []
    captions = [ask.caption for ask in asks]
    for scale in SCALES:
        shots = [
            as_array(generate(pipeline, captions, 1000 * k, STEPS, scale, batch=20))
            for k in range(SEEDS)
        ]
        verdicts = [judge(pictures, asks, classifier) for pictures in shots]
        stack = np.stack(shots)
        apart = [np.abs(stack[i] - stack[j]).mean() for i, j in combinations(range(SEEDS), 2)]
        rows.append(
            {
                "guidance": scale,
                "adherence": round(float(np.mean([v.likelihood for v in verdicts])), 3),
                "saturation": round(float(np.mean(stack.max(-1) - stack.min(-1))), 2),
                "diversity": round(float(np.mean(apart)), 2),
            }
        )
    return rows


def share(values: NDArray[Any]) -> float:
    """The mean of truths, to a tenth of a per cent."""
    return round(float(np.mean(values)), 3)


def evaluate(model: Path, cache: Path, count: int, steps: int) -> dict[str, Any]:
    """All figures, by name."""
    begun = time.monotonic()
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    classifier, own = load_classifier(cache)
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    _, held_out = split_rows(drawings)
    asks = make_asks(concepts, count)
    ceiling = judge(reconstruct(pipeline.vae, truth(asks, concepts, drawings)), asks, classifier)
    pictures = generate(pipeline, [a.caption for a in asks], 0, steps, GUIDANCE, batch=20)
    found = judge(as_array(pictures), asks, classifier)
    words = unseen_words(concepts)
    drawn = generate(pipeline, [a.caption for a in words], 0, steps, GUIDANCE, batch=20)
    unseen = judge(as_array(drawn), words, classifier)
    named = np.asarray([ask.background != "white" for ask in asks])
    return {
        "vae_psnr_db": round(psnr_on_white(pipeline.vae, drawings, held_out), 2),
        "vae_held_out_drawings": len(held_out),
        "flat_error": round(flat_error(pipeline.vae), 2),
        "captions": len(asks),
        "concepts": len(concepts),
        "background_right": share(found.background),
        "background_right_named": share(found.background[named]),
        "style_right": share(found.style),
        "concept_top1": share(found.rank < 1),
        "concept_top5": share(found.rank < 5),
        "unseen_words": len(words),
        "unseen_words_top5": share(unseen.rank < 5),
        "classifier_concept": round(own["concept"], 3),
        "classifier_style": round(own["style"], 3),
        "ceiling_top1": share(ceiling.rank < 1),
        "ceiling_top5": share(ceiling.rank < 5),
        "ceiling_style": share(ceiling.style),
        "steps": steps,
        "guidance": GUIDANCE,
        "guidance_table": guidance_table(pipeline, asks[:TABLE], classifier),
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--captions", type=int, default=300)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="default: evaluation.json in the model's folder")
    args = parser.parse_args()
    figures = evaluate(args.model, args.cache, args.captions, args.steps)
    for name, value in figures.items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{name:24} {line}")
    target = args.json or args.model / "evaluation.json"
    target.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
