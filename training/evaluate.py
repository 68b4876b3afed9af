"""Stage 13: measure the exported model, as a table and as JSON.

    python -m training.evaluate --model models/emoji

What each figure says, and what it does not:
- `vae_psnr_db`: reconstructions of drawings that the autoencoder never saw, on white.
- `flat_error`: mean |error| of reconstructed plain pictures of the nine backgrounds, in 0..255.
- `background_right`: the mean colour of the four 8-pixel corners, which no drawing touches, is
  closest to the asked background among nine. Half of the captions ask for none, which is white.
- `concept_top1`, `concept_top5`, `style_right`: what the classifier (`training.judges.classifier`)
  says, which has never seen a generated picture. `classifier_*` is its accuracy on real renderings
  it has never met, and `ceiling_*` on the autoencoder's reconstructions of the very drawings
  asked for.
- `unseen_words_top5`: the same for captions of one word each that stands in no caption
  (`training.data.synonyms`).
- `guidance_table`: see `guidance_table`; drawn in `guidance.png` in the model's folder.
- `convergence_table`: see `training.evaluation.samplers`.
- figures and solids: see `training.evaluation.scenes`; the model's siblings: see
  `training.evaluation.siblings`, each also in its own folder's `evaluation.json`.

Every asked drawing was trained on: the figures measure recall, not invention.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray

from pipelines.analysis.clip_score import Scorer, find_scorer
from training.data.captions import BACKGROUND_NAMES
from training.data.colours import background_rgb
from training.data.concepts import load_concepts
from training.data.drawings import SIZE, load_drawings
from training.data.pictures import split_rows
from training.data.sources import cache_dir
from training.evaluation.plot import plot_table
from training.evaluation.samplers import convergence_table
from training.evaluation.scenes import evaluate_scenes
from training.evaluation.siblings import evaluate_siblings
from training.judges.classifier import Classifier, load_classifier
from training.judges.verdicts import Ask, as_array, judge, make_asks, share, truth, unseen_words
from training.stages.samples import generate
from training.stages.vae import psnr_on_white, reconstruct

STEPS = 25
GUIDANCE = 5.0
SCALES = (1.0, 2.0, 3.0, 5.0, 8.0, 11.0, 15.0)
SEEDS = 4
TABLE = 12


def flat_error(vae: AutoencoderKL) -> float:
    """Mean absolute error over reconstructed plain pictures of all backgrounds, in 0..255."""
    colours = np.asarray([background_rgb(name) for name in BACKGROUND_NAMES], np.float32)
    plain = np.broadcast_to(colours[:, None, None], (len(colours), SIZE, SIZE, 3)).copy()
    return float(np.abs(reconstruct(vae, plain) - plain).mean())


def guidance_table(
    pipeline: StableDiffusionPipeline,
    asks: Sequence[Ask],
    classifier: Classifier,
    scorer: Scorer | None,
) -> list[dict[str, float]]:
    """Tabulate adherence, saturation and diversity by guidance scale, over captions and seeds.

    `adherence` is the classifier's mean probability of the asked concept; `likeness` what the
    program's own score says of picture and caption, if there is one; `saturation` the mean of
    max − min over RGB, in 0..255; `diversity` the mean distance of pixels between two seeds of one
    caption, in 0..255.
    """
    rows = []
    captions = [ask.caption for ask in asks]
    for scale in SCALES:
        drawn = [
            generate(pipeline, captions, 1000 * k, STEPS, scale, batch=20) for k in range(SEEDS)
        ]
        shots = [as_array(pictures) for pictures in drawn]
        verdicts = [judge(pictures, asks, classifier) for pictures in shots]
        stack = np.stack(shots)
        apart = [np.abs(stack[i] - stack[j]).mean() for i, j in combinations(range(SEEDS), 2)]
        of_each = zip(captions, zip(*drawn, strict=True), strict=True)
        scores = [scorer.adherence(of_one, said) for said, of_one in of_each] if scorer else []
        rows.append(
            {
                "guidance": scale,
                "adherence": round(float(np.mean([v.likelihood for v in verdicts])), 3),
                **({"likeness": round(float(np.mean(scores)), 3)} if scores else {}),
                "saturation": round(float(np.mean(stack.max(-1) - stack.min(-1))), 2),
                "diversity": round(float(np.mean(apart)), 2),
            }
        )
    return rows


def evaluate(model: Path, cache: Path, count: int, steps: int) -> Iterator[dict[str, Any]]:
    """Measure all figures, a few at a time as they are found, by name."""
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    classifier, own = load_classifier(cache)
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    _, held_out = split_rows(drawings)

    def draw(captions: Sequence[str]) -> NDArray[np.float32]:
        return as_array(generate(pipeline, captions, 0, steps, GUIDANCE, batch=20))

    yield {
        "vae_psnr_db": round(psnr_on_white(pipeline.vae, drawings, held_out), 2),
        "vae_held_out_drawings": len(held_out),
        "flat_error": round(flat_error(pipeline.vae), 2),
    }
    words = unseen_words(concepts)
    unseen = judge(draw([ask.caption for ask in words]), words, classifier)
    yield {"unseen_words": len(words), "unseen_words_top5": share(unseen.rank < 5)}
    yield evaluate_scenes(draw, lambda pixels: reconstruct(pipeline.vae, pixels), cache)
    asks = make_asks(concepts, count)
    found = judge(draw([ask.caption for ask in asks]), asks, classifier)
    named = np.asarray([ask.background != "white" for ask in asks])
    yield {
        "captions": len(asks),
        "concepts": len(concepts),
        "steps": steps,
        "guidance": GUIDANCE,
        "background_right": share(found.background),
        "background_right_named": share(found.background[named]),
        "style_right": share(found.style),
        "concept_top1": share(found.rank < 1),
        "concept_top5": share(found.rank < 5),
    }
    ceiling = judge(reconstruct(pipeline.vae, truth(asks, concepts, drawings)), asks, classifier)
    yield {
        "classifier_concept": round(own["concept"], 3),
        "classifier_style": round(own["style"], 3),
        "ceiling_top1": share(ceiling.rank < 1),
        "ceiling_top5": share(ceiling.rank < 5),
        "ceiling_style": share(ceiling.style),
    }
    scorer = find_scorer([model.parent])
    yield {"guidance_table": guidance_table(pipeline, asks[:TABLE], classifier, scorer)}
    yield {"convergence_table": convergence_table(pipeline, GUIDANCE)}
    yield {"siblings": evaluate_siblings(model, asks, classifier, drawings, concepts, cache)}


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/emoji"))
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--captions", type=int, default=300)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="default: evaluation.json in the model's folder")
    args = parser.parse_args()
    target = args.json or args.model / "evaluation.json"
    figures: dict[str, Any] = {}
    begun = time.monotonic()
    for more in evaluate(args.model, args.cache, args.captions, args.steps):
        figures |= more | {"seconds": round(time.monotonic() - begun, 1)}
        for name, value in more.items():
            for line in value if isinstance(value, list) else [value]:
                print(f"{name:24} {line}", flush=True)
        target.write_text(json.dumps(figures, indent=2) + "\n")
    plot_table(figures["guidance_table"], "guidance").save(target.with_name("guidance.png"))


if __name__ == "__main__":
    main()
