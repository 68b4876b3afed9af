"""The shipped model's parts and training set, which its siblings start from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from diffusers import StableDiffusionPipeline
from torch import Tensor

from training.data.concepts import load_concepts
from training.data.corpus import Corpus, Shares
from training.data.drawings import load_drawings
from training.data.latents import prepare_latents
from training.data.scenes import load_scenes
from training.optim.run_folder import log, stage_parser
from training.optim.stage import Make, StageConfig, load_average, train
from training.stages.decoder import load_vae


@dataclass(frozen=True)
class SiblingConfig(StageConfig):
    """Configuration of a sibling's run.

    Args:
        model: the shipped model's folder, whose parts are used and stay as they are.
    """

    model: str = "models/emoji"


Config = TypeVar("Config", bound=SiblingConfig)
Export = Callable[[Config, dict[str, Tensor], Path], int]


def load_shipped(model: str) -> StableDiffusionPipeline:
    """The shipped model, float32, nothing of it to be trained."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, use_safetensors=True)
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.float().eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def shipped_corpus(
    pipeline: StableDiffusionPipeline, cache: Path, scene_share: float, stream: tuple[int, ...]
) -> Corpus:
    """The UNet's training set, tokenized for the shipped model; rows differ by `stream`."""
    drawings, scenes = load_drawings(cache), load_scenes(cache)
    concepts = load_concepts(drawings.names)
    latents = prepare_latents(load_vae(cache), drawings, concepts, scenes, cache / "unet")
    rng = np.random.default_rng((11, *stream))
    shares = Shares(scene_share)
    return Corpus(latents, concepts, scenes.captions, pipeline.tokenizer, shares, rng)


def run_sibling(
    description: str | None, name: str, make: Make, config: type[Config], export: Export[Config]
) -> None:
    """Run the command line of a sibling's stage: train it, and write what is shipped of it.

    Args:
        name: of the run's folder in the cache; the sibling is `models/emoji-<name>`.
        make: see `stage.train`.
        export: from the config, the moving average and a folder, to the bytes of the weights.
    """
    parser = stage_parser(description, config.minutes)
    parser.add_argument("--model", default=config.model, help="the shipped model")
    parser.add_argument("--out", type=Path, default=Path("models") / f"emoji-{name}")
    args = parser.parse_args()
    chosen = config(minutes=args.minutes, model=args.model)
    path = train(name, make, chosen, args.cache, args.resume)
    size = export(chosen, load_average(path), args.out)
    log.info("%s: %.1f MB of weights", args.out, size / 1e6)
