"""Stage 10: how well the ControlNets are followed, on maps that they never saw.

    python -m training.evaluate_controls [--kinds canny pose] [--count 200]

- `edge_f1`: of canny and scribble, how well the picture's own edges agree with the map (see
  `control_scores.edge_f1`), with the ControlNet at strength 1, without it, and of the
  autoencoder's reconstruction of the very picture the map was taken from, which is the ceiling;
- `concept`, `background`, `shirt`, `solids`: whether the prompt is still obeyed, by the judges of
  `training.evaluate`; those of drawings are asked of canny and scribble.

How well poses, depths and segments are followed is not measured here yet: it takes a reader of
joints and shapes in pictures.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import ControlNetModel
from numpy.typing import NDArray

from training import common
from training.classifier import load_classifier
from training.control_asks import ControlAsk, unseen
from training.control_scores import edge_f1
from training.controlled import controlled_pipeline, generate_to_maps
from training.data import conditions
from training.data.sources import cache_dir
from training.evaluate import reconstruct
from training.evaluate_scenes import SceneAsk, shirts_right, solids_right
from training.judging import as_array, judge, share
from training.scene_judge import load_scene_judge

Pictures = NDArray[np.float32]


def mean_edge_f1(pictures: Pictures, asks: Sequence[ControlAsk], kind: str) -> float:
    """The mean agreement of the pictures' edges with the maps asked for."""
    found = [conditions.edges(np.rint(p).astype(np.uint8), kind) for p in pictures]
    scores = [edge_f1(ours, ask.map) for ours, ask in zip(found, asks, strict=True)]
    return round(float(np.mean(scores)), 3)


def obeyed(pictures: Pictures, asks: Sequence[ControlAsk], cache: Path) -> dict[str, float]:
    """The shares of prompts obeyed, for each kind of thing that is among the asks."""
    found: dict[str, float] = {}
    drawn = [i for i, ask in enumerate(asks) if ask.drawing]
    if drawn:
        wanted = [ask.drawing for ask in asks if ask.drawing]
        verdict = judge(pictures[drawn], wanted, load_classifier(cache)[0])
        found["concept"] = share(verdict.rank < 1)
        found["background"] = share(verdict.background)
    judge_of_scenes = load_scene_judge(cache)[0]
    for name, right in (("shirt", shirts_right), ("solids", solids_right)):
        rows = [i for i, ask in enumerate(asks) if _shows(ask) == name]
        shown = [asks[i] for i in rows]
        scenes = [SceneAsk(a.caption, a.label, a.pixels) for a in shown if a.label]
        if rows:
            found[name] = share(right(judge_of_scenes, pictures[rows], scenes))
    return found


def _shows(ask: ControlAsk) -> str:
    if ask.label is None:
        return "drawing"
    return "shirt" if ask.label.shirt else "solids"


def measure(kind: str, model: Path, count: int, steps: int, cache: Path) -> dict[str, Any]:
    """The figures of one ControlNet."""
    asks = unseen(kind, count, cache)
    path = model.with_name(f"{model.name}-controlnet-{kind}")
    controlnet = ControlNetModel.from_pretrained(path, use_safetensors=True)
    pipeline = controlled_pipeline(str(model), [controlnet.float().eval()])
    captions, maps = [ask.caption for ask in asks], np.stack([ask.map for ask in asks])
    made = {
        name: as_array(generate_to_maps(pipeline, captions, [maps], steps=steps, strength=strength))
        for name, strength in (("with", 1.0), ("without", 0.0))
    }
    made["ceiling"] = reconstruct(
        pipeline.vae, np.stack([ask.pixels for ask in asks]).astype(np.float32)
    )
    figures: dict[str, Any] = {"maps": count, "steps": steps}
    for name, pictures in made.items():
        if kind in conditions.DRAWN:
            figures[f"edge_f1_{name}"] = mean_edge_f1(pictures, asks, kind)
        figures |= {f"{k}_{name}": v for k, v in obeyed(pictures, asks, cache).items()}
    return figures


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=conditions.KINDS,
        default=conditions.KINDS,
        help="those that are there are measured",
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    common.start_log(args.cache, "evaluate_controls")
    for kind in args.kinds:
        folder = args.model.with_name(f"{args.model.name}-controlnet-{kind}")
        if not folder.exists():
            continue
        figures = measure(kind, args.model, args.count, args.steps, args.cache)
        for name, value in figures.items():
            print(f"{kind:10} {name:24} {value}", flush=True)
        (folder / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
