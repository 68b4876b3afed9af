"""Stage 14: measure how well pictures follow the ControlNets' maps, on unseen ones.

    python -m training.judges.map_reader figures && python -m training.judges.map_reader solids
    python -m training.evaluation.controls [--kinds canny pose] [--count 200] [--proof]

What is measured of each kind says `training.evaluation.control_followed`, which maps are asked
`training.evaluation.control_asks`. Each figure is given for
- `_with`: pictures by diffusers' own pipeline with the ControlNet at strength 1, DPM-Solver++,
  20 steps, guidance 5; picture i starts from the noise of seed i;
- `_without`: the same captions and noise without it;
- `_real`: the very pictures that the maps were taken from; `_ceiling`: the autoencoder's
  reconstructions of them: no picture of this model can follow much better;
- `_shuffled`: these real pictures, each held against the map of the next: chance.

`concept`, `background`, `shirt`, `solids`, `solid_colours`: whether the prompt is still obeyed, by
the judges of `training.evaluate`; `solid_colours` asks for just the colours. With `--proof` no
ControlNet is needed: the figures without one, and the bounds, tell what the measures are worth.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import ControlNetModel
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from training.data import conditions
from training.data.sources import cache_dir
from training.evaluation.control_asks import ControlAsk, unseen
from training.evaluation.control_followed import HEADLINE, followed
from training.evaluation.control_obeyed import obeyed
from training.evaluation.control_sheets import Row, labelled
from training.judges.verdicts import as_array
from training.optim.run_folder import start_log
from training.stages.controlled_pictures import controlled_pipeline, generate_to_maps
from training.stages.samples import generate
from training.stages.shipped import load_shipped
from training.stages.vae import reconstruct

Pictures = NDArray[np.float32]
BATCH = 20
GUIDANCE = 5.0
SHOWN = 10
"""Pictures of each kind in `followed.png`."""
SHEET = "followed.png"


def load_controlnet(path: Path) -> ControlNetModel:
    """A trained ControlNet, float32."""
    return ControlNetModel.from_pretrained(path, use_safetensors=True).float().eval()


def in_chunks(
    draw: Callable[[int, int], Sequence[Image.Image]], count: int, said: str
) -> list[Image.Image]:
    """`count` pictures with a progress bar; `draw` makes those of a range."""
    pictures: list[Image.Image] = []
    for start in track(range(0, count, BATCH), said):
        pictures += draw(start, min(start + BATCH, count))
    return pictures


def drawn_with(
    model: Path, folders: Sequence[Path], captions: Sequence[str],
    maps: Sequence[NDArray[np.uint8]], steps: int, said: str,
) -> list[Image.Image]:  # fmt: skip
    """Pictures to maps, one stack of maps for each ControlNet."""
    pipeline = controlled_pipeline(str(model), [load_controlnet(folder) for folder in folders])

    def draw(start: int, end: int) -> list[Image.Image]:
        chosen = [kind[start:end] for kind in maps]
        return generate_to_maps(
            pipeline, captions[start:end], chosen, start, steps, GUIDANCE, batch=BATCH
        )

    return in_chunks(draw, len(captions), said)


def drawn_without(model: Path, captions: Sequence[str], steps: int) -> list[Image.Image]:
    """Pictures from the same noise, by the shipped model alone."""
    pipeline = load_shipped(str(model))

    def draw(start: int, end: int) -> list[Image.Image]:
        return generate(pipeline, captions[start:end], start, steps, GUIDANCE, BATCH)

    return in_chunks(draw, len(captions), "without a map")


def measure(
    kind: str, model: Path, count: int, steps: int, cache: Path, proof: bool
) -> Iterator[dict[str, Any]]:
    """The figures of one ControlNet, a few at a time as they are found."""
    asks = unseen(kind, count, cache)
    yield {"maps": count, "steps": steps, "guidance": GUIDANCE}
    real = np.stack([ask.pixels for ask in asks]).astype(np.float32)
    yield named(followed(kind, real, asks, cache), "real")
    yield named(followed(kind, real, asks[1:] + asks[:1], cache), "shuffled")
    yield judged(kind, reconstruct(load_shipped(str(model)).vae, real), asks, "ceiling", cache)
    captions, maps = [ask.caption for ask in asks], np.stack([ask.map for ask in asks])
    without = drawn_without(model, captions, steps)
    found = judged(kind, as_array(without), asks, "without", cache)
    yield found
    if proof:
        return
    folder = folder_of(model, kind)
    drawn = drawn_with(model, [folder], captions, [maps], steps, kind)
    more = judged(kind, as_array(drawn), asks, "with", cache)
    name = HEADLINE[kind]
    ratio = more[f"{name}_with"] / max(found[f"{name}_without"], 1e-3)
    yield more | {f"{name}_ratio": round(ratio, 2)}
    spread = np.linspace(0, count - 1, min(SHOWN, count)).astype(int)
    rows = [
        Row("map", [Image.fromarray(asks[i].map) for i in spread]),
        Row("with it", [drawn[i] for i in spread]),
        Row("without", [without[i] for i in spread]),
    ]
    labelled(rows).save(folder / SHEET, optimize=True)


def named(figures: dict[str, float], of: str) -> dict[str, float]:
    """The figures with `_of` after each name."""
    return {f"{name}_{of}": value for name, value in figures.items()}


def judged(
    kind: str, pictures: Pictures, asks: Sequence[ControlAsk], of: str, cache: Path
) -> dict[str, float]:
    """Measure how well the map is followed and the prompt obeyed."""
    return named(followed(kind, pictures, asks, cache) | obeyed(pictures, asks, cache), of)


def folder_of(model: Path, kind: str) -> Path:
    """Folder of the ControlNet of a kind."""
    return model.with_name(f"{model.name}-controlnet-{kind}")


def show_and_keep(found: Iterator[dict[str, Any]], name: str, target: Path | None) -> None:
    """Print figures as they come, and write all so far to `target`."""
    figures: dict[str, Any] = {}
    for more in found:
        figures |= more
        for key, value in more.items():
            print(f"{name:10} {key:28} {value}", flush=True)
        if target:
            target.write_text(json.dumps(figures, indent=2) + "\n")


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
    parser.add_argument("--proof", action="store_true", help="without ControlNets; writes nothing")
    args = parser.parse_args()
    start_log(args.cache, "evaluate_controls")
    for kind in args.kinds:
        folder = folder_of(args.model, kind)
        if not (folder.exists() or args.proof):
            continue
        found = measure(kind, args.model, args.count, args.steps, args.cache, args.proof)
        show_and_keep(found, kind, None if args.proof else folder / "evaluation.json")


if __name__ == "__main__":
    main()
