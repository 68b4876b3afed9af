"""Stage 15: measure two ControlNets at once: a figure's pose and its depth.

    python -m training.evaluation.controls_together [--count 12]

The depth map is the one of `training.data.relief`, of the same unseen figure as the skeleton. Given
for both ControlNets, for each alone, for neither, and with the bounds of
`training.evaluation.controls`:
- `joints`: as in `control_followed`;
- `relief`: Spearman's correlation of the figure's layers (`relief.layers`) as the reader of figures
  finds them with the asked ones, over the whole picture, mean over pictures;
- `shirt`: whether the shirt still has the asked colour.

All pictures are on one sheet, `pose-and-depth.png` in the folder of the ControlNet of poses.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.conditions import near_is_white
from training.data.relief import layers, relief
from training.data.sources import cache_dir
from training.evaluation.control_asks import STREAM, ControlAsk, figure_ask
from training.evaluation.control_followed import pose_followed
from training.evaluation.control_obeyed import obeyed
from training.evaluation.control_sheets import Row, labelled
from training.evaluation.controls import drawn_with, drawn_without, folder_of, named, show_and_keep
from training.judges.control_scores import rank_correlation
from training.judges.map_reader import load_reader, read
from training.judges.verdicts import as_array
from training.optim.run_folder import start_log
from training.stages.shipped import load_shipped
from training.stages.vae import reconstruct

NAME = "pose-and-depth"


def figures_asked(count: int) -> list[ControlAsk]:
    """Figures that no training data and no other measure holds."""
    rng = np.random.default_rng((STREAM, 100))
    return [figure_ask(rng) for _ in range(count)]


def both_followed(
    pictures: NDArray[Any], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """`joints` and `relief` of pictures (N, 128, 128, 3) in 0..255."""
    parts = read(load_reader(cache, "figures"), "figures", pictures).labels
    ranks = [
        rank_correlation(layers(own, ask.front), layers(ask.exact["parts"], ask.front))
        for own, ask in zip(parts, asks, strict=True)
    ]
    joints = pose_followed(pictures, asks, cache)["joints"]
    return {"joints": round(joints, 3), "relief": round(float(np.mean(ranks)), 3)}


def measure(model: Path, count: int, steps: int, cache: Path) -> Iterator[dict[str, Any]]:
    """The figures, a few at a time as they are found; the sheet at the end."""
    asks = figures_asked(count)
    yield {"figures": count, "steps": steps}
    real = np.stack([ask.pixels for ask in asks]).astype(np.float32)
    yield named(both_followed(real, asks, cache), "real")
    yield named(both_followed(real, asks[1:] + asks[:1], cache), "shuffled")
    again = reconstruct(load_shipped(str(model)).vae, real)
    yield named(both_followed(again, asks, cache) | obeyed(again, asks, cache), "ceiling")
    captions = [ask.caption for ask in asks]
    poses = np.stack([ask.map for ask in asks])
    depths = np.stack([near_is_white(relief(ask.exact["parts"], ask.front)) for ask in asks])
    pose, depth = folder_of(model, "pose"), folder_of(model, "depth")
    rows = [
        Row("pose map", [Image.fromarray(one) for one in poses]),
        Row("depth map", [Image.fromarray(one) for one in depths]),
    ]
    for name, folders, maps in (
        ("both", [pose, depth], [poses, depths]),
        ("pose_alone", [pose], [poses]),
        ("depth_alone", [depth], [depths]),
        ("neither", [], []),
    ):
        if folders:
            drawn = drawn_with(model, folders, captions, maps, steps, name)
        else:
            drawn = drawn_without(model, captions, steps)
        pictures = as_array(drawn)
        yield named(both_followed(pictures, asks, cache) | obeyed(pictures, asks, cache), name)
        rows.append(Row(name.replace("_", " "), drawn))
    labelled(rows).save(pose / f"{NAME}.png", optimize=True)


def main() -> None:
    """The command line of this measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    start_log(args.cache, "evaluate_together")
    target = folder_of(args.model, "pose") / f"{NAME}.json"
    show_and_keep(measure(args.model, args.count, args.steps, args.cache), "together", target)


if __name__ == "__main__":
    main()
