"""The example pictures of the ControlNet tab: python -m training.data.control_examples

They come from the domains that the shipped model learns, with their exact joints and depth.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data import figures, solids
from training.data.drawings import SIZE

FOLDER = Path(__file__).parents[2] / "presets" / "controls"
# Chosen by eye: a person who waves, seen from the front; two cones and a cylinder; three solids.
WAVING, THREE, OTHERS = 11, 4, 10


def skeleton(keypoints: NDArray[np.float32]) -> list[dict[str, list[object]]]:
    """One person as `pipelines.preprocessors.skeletons` reads it, from (18, 3) in pixels."""
    points = [[round(float(x) / SIZE, 4), round(float(y) / SIZE, 4)] for x, y, _ in keypoints]
    return [{"joints": [*points], "visibility": [float(seen) for seen in keypoints[:, 2]]}]


def scribble(side: int = 256) -> Image.Image:
    """An apple in a few white lines."""
    paper = Image.new("L", (side * 2, side * 2))
    pen = ImageDraw.Draw(paper)
    turn = np.linspace(0, 2 * np.pi, 200)
    # A circle with a dent above and below.
    radius = 0.3 * (1 - 0.24 * np.exp(-(((turn - np.pi / 2) / 0.4) ** 2)))
    radius *= 1 - 0.12 * np.exp(-(((turn - 3 * np.pi / 2) / 0.3) ** 2))
    x, y = 0.5 + 1.05 * radius * np.cos(turn), 0.56 - radius * np.sin(turn)
    stem = [(0.5, 0.34), (0.51, 0.26), (0.54, 0.19)]
    leaf = [(0.52, 0.25), (0.58, 0.18), (0.68, 0.17), (0.63, 0.24), (0.52, 0.25)]
    for line in (list(zip(x, y, strict=True)), stem, leaf):
        pen.line([(2 * side * px, 2 * side * py) for px, py in line], 255, 12, "curve")
    return paper.reduce(2).point(lambda value: 255 if value > 127 else 0)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    waving = figures.draw(figures.random_figure(np.random.default_rng(WAVING)))
    Image.fromarray(waving.pixels).save(FOLDER / "waving.png", optimize=True)
    people = skeleton(waving.maps["keypoints"])
    (FOLDER / "waving.json").write_text(json.dumps(people) + "\n", encoding="utf-8")
    three = solids.draw(solids.random_scene(np.random.default_rng(THREE)))
    Image.fromarray(three.pixels).save(FOLDER / "solids.png", optimize=True)
    others = solids.draw(solids.random_scene(np.random.default_rng(OTHERS)))
    depth = (255 * others.maps["depth"]).round().astype(np.uint8)
    Image.fromarray(depth).save(FOLDER / "depth.png", optimize=True)
    scribble().save(FOLDER / "scribble.png", optimize=True)


if __name__ == "__main__":
    main()
