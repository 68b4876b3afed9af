"""Draw a sheet of composed scenes with their captions, and time how long one takes.

python -m training.data.scene_sheet --out scenes.png [--first 0]
"""

import argparse
import textwrap
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.bank import load_bank
from training.data.canvas import draw_scene
from training.data.composition import Composer
from training.data.phrases import caption
from training.data.sources import cache_dir

COLUMNS, ROWS = 8, 6
SIDE, LINES = 200, 54
# Scenes of this stream are not trained on.
STREAM = 78


def scene_sheet(composer: Composer, first: int) -> Image.Image:
    """Scenes `first` and following, each over its caption."""
    sheet = Image.new("RGB", (COLUMNS * SIDE, ROWS * (SIDE + LINES)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number in range(COLUMNS * ROWS):
        scene = composer.scene((STREAM, first + number))
        said = caption(composer.bank, scene, np.random.default_rng((STREAM, first + number)))
        x, y = number % COLUMNS * SIDE, number // COLUMNS * (SIDE + LINES)
        picture = Image.fromarray(draw_scene(composer.bank, scene).pixels)
        sheet.paste(picture.resize((SIDE - 4, SIDE - 4)), (x, y))
        pen.text((x, y + SIDE - 2), "\n".join(textwrap.wrap(said, 30)[:3]), "black", font=font)
    return sheet


def draw_time(composer: Composer, count: int = 200) -> float:
    """Milliseconds of processor time to compose and draw one scene."""
    start = time.process_time()
    for number in range(count):
        draw_scene(composer.bank, composer.scene((STREAM, number)))
    return (time.process_time() - start) / count * 1000


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    composer = Composer(load_bank(args.cache))
    scene_sheet(composer, args.first).save(args.out)
    print(f"{args.out}: {draw_time(composer):.1f} ms a scene")


if __name__ == "__main__":
    main()
