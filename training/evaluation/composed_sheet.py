"""Evaluate the composing model of a checkpoint: its folder, a sheet of samples, simple checks.

    python -m training.evaluation.composed_sheet [--name composed] [--seeds 8] [--checks 16]
                                                 [--guidance-scale 3]

Writes the moving average as a plain diffusers folder `NAME/model` and the sheet
`NAME/sheet.png` into the cache. The checks need no judge: on a white ground things are blobs
that can be counted, placed and coloured.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.data.captions import article
from training.data.recolour import PAINT_LABS, oklab
from training.data.sources import cache_dir
from training.optim.run_folder import log, read_fields, start_log
from training.optim.stage import load_average
from training.stages.composed import PROMPTS, Config, build_parts, composed_pipeline, load_vae
from training.stages.samples import generate

Picture = NDArray[np.uint8]
WHITE = " on a white background"
# Of RGB distance: nearer to the ground's colour is ground.
APART = 60.0
# Of the picture: smaller blobs are specks.
LEAST_AREA = 0.004
NUMBERS = {"two": 2, "three": 3, "four": 4}
THINGS = ("apple", "lemon", "cat", "house", "car", "ball", "flower", "book")
COUNTED = ("apples", "lemons", "cats", "houses", "cars", "strawberries", "eggs", "stars")
PAINTED = ("red", "blue", "green", "yellow", "purple", "pink")
PLACES = {"left": "on the left", "right": "on the right", "top": "at the top"}


def blobs(picture: Picture) -> list[tuple[float, float, float]]:
    """The blobs on a plain ground, largest first: (x, y, area), all shares of the picture.

    Args:
        picture: (H, W, 3); its border shows the ground.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground = np.median(border, 0)
    mask = (np.linalg.norm(picture.astype(np.float32) - ground, axis=2) > APART).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask)
    height, width = mask.shape
    found = [
        (float(x) / width, float(y) / height, float(row[cv2.CC_STAT_AREA]) / mask.size)
        for (x, y), row in zip(centres[1:], stats[1:], strict=True)
    ]
    kept = [blob for blob in found if blob[2] > LEAST_AREA]
    return sorted(kept, key=lambda blob: -blob[2])


def paint_of(picture: Picture) -> str:
    """The paint that most of what is not ground looks like."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    away = np.linalg.norm(picture.astype(np.float32) - np.median(border, 0), axis=2)
    seen = picture[away > APART]
    if not len(seen):
        return ""
    names = list(PAINT_LABS)
    labs = np.array([PAINT_LABS[name] for name in names], np.float32)
    nearest = np.linalg.norm(oklab(seen)[:, None] - labs, axis=2).argmin(1)
    return names[int(np.bincount(nearest, minlength=len(names)).argmax())]


@dataclass(frozen=True)
class Check:
    """One figure: what is asked, and whether a picture shows it."""

    name: str
    asks: tuple[tuple[str, Callable[[Picture], bool]], ...]


def checks() -> tuple[Check, ...]:
    """Count, colour, position and two things apart."""

    def counts(number: int) -> Callable[[Picture], bool]:
        return lambda picture: len(blobs(picture)) == number

    def is_painted(paint: str) -> Callable[[Picture], bool]:
        return lambda picture: paint_of(picture) == paint

    def stands(place: str) -> Callable[[Picture], bool]:
        def holds(picture: Picture) -> bool:
            found = blobs(picture)
            if not found:
                return False
            x, y, _ = found[0]
            return {"left": x < 0.42, "right": x > 0.58, "top": y < 0.42}[place]

        return holds

    counted = tuple(
        (f"{word} {noun}{WHITE}", counts(number))
        for word, number in NUMBERS.items()
        for noun in COUNTED
    )
    painted = tuple(
        (f"a {paint} {noun}{WHITE}", is_painted(paint)) for paint in PAINTED for noun in THINGS
    )
    placed = tuple(
        (f"{article(noun)} {noun} {words}{WHITE}", stands(place))
        for place, words in PLACES.items()
        for noun in THINGS
    )
    pairs = tuple(
        (f"{article(a)} {a} and {article(b)} {b}{WHITE}", counts(2)) for a, b in pairwise(THINGS)
    )
    return (
        Check("count", counted), Check("colour", painted), Check("position", placed),
        Check("two things", pairs),
    )  # fmt: skip


def load_composed(cache: Path, name: str = "composed") -> StableDiffusionPipeline:
    """The moving average of the checkpoint in `cache/name`, as a pipeline."""
    config = Config(**read_fields(cache / name))
    vae = load_vae(config.vae or f"{config.model}/vae")
    parts, tokenizer, _ = build_parts(config, vae)
    parts.load_state_dict(load_average(cache / name / "checkpoint.safetensors"))
    return composed_pipeline(parts, tokenizer, vae, config)


def labelled(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """A row a prompt, said on its left."""
    side, left = rows[0][1][0].width, 200
    sheet = Image.new("RGB", (left + side * len(rows[0][1]), side * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, (prompt, pictures) in enumerate(rows):
        words, lines = prompt.split(), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 19:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        pen.text((8, number * side + side // 3), "\n".join(lines), fill="black", font=font)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (left + column * side, number * side))
    return sheet


def run_checks(
    pipeline: StableDiffusionPipeline, count: int, guidance_scale: float, steps: int
) -> dict[str, float]:
    """The share of right pictures of each check, `count` pictures each."""
    found = {}
    for check in checks():
        order = np.random.default_rng(0).permutation(len(check.asks))
        asks = [check.asks[order[i % len(order)]] for i in range(count)]
        pictures = generate(
            pipeline, [prompt for prompt, _ in asks], 1000, steps, guidance_scale, batch=8
        )
        right = [
            holds(np.asarray(picture, np.uint8))
            for (_, holds), picture in zip(asks, pictures, strict=True)
        ]
        found[check.name] = float(np.mean(right))
        log.info("%s right: %.2f of %d", check.name, found[check.name], count)
    return found


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--name", default="composed", help="the stage's folder in the cache")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--checks", type=int, default=16, help="pictures a check, 0 for none")
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args()
    start_log(args.cache / args.name, "sheet")
    torch.set_num_threads(1)
    pipeline = load_composed(args.cache, args.name)
    folder = args.cache / args.name
    pipeline.save_pretrained(folder / "model", safe_serialization=True)
    with torch.autocast("cpu", torch.bfloat16):
        rows = [
            (prompt, generate(pipeline, [prompt] * args.seeds, 0, args.steps, args.guidance_scale))
            for prompt in PROMPTS
        ]
        labelled(rows).save(folder / "sheet.png")
        if args.checks:
            run_checks(pipeline, args.checks, args.guidance_scale, args.steps)


if __name__ == "__main__":
    main()
