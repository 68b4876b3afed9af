"""Run all stages in order: autoencoder, UNet, judges, export, siblings, ControlNets, figures.

    python -m training.run_all [--vae-minutes 45] [--unet-minutes 80] [--decoder-minutes 12]
                               [--resume]

With `--vae-minutes 0` the autoencoder of `training/frozen` is used, unless the cache has one.
Each stage is a process of its own, so that each starts with fresh memory and keeps its own log.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from training.data.conditions import KINDS
from training.data.drawings import load_drawings
from training.data.sources import cache_dir
from training.judges.map_reader import DOMAINS
from training.stages.decoder import Config as DecoderConfig
from training.stages.unet import Config as UnetConfig
from training.stages.vae import Config as VaeConfig


def beside(out: Path, name: str) -> list[str]:
    """The arguments of a sibling's stage: the shipped model, and a folder beside it."""
    return ["--model", str(out), "--out", str(out.with_name(f"{out.name}-{name}"))]


def commands(
    cache: Path,
    out: Path,
    vae_minutes: float,
    unet_minutes: float,
    decoder_minutes: float,
    resume: bool,
) -> list[list[str]]:
    """The arguments of `python -m` for each stage after the data, in order."""
    again = ["--resume"] if resume else []
    place = ["--cache", str(cache)]
    first = [["training.stages.vae", "--minutes", str(vae_minutes), *place, *again]]
    return [
        *(first if vae_minutes else []),
        ["training.stages.unet", "--minutes", str(unet_minutes), *place, *again],
        ["training.stages.meanings", *place, *again],
        ["training.stages.decoder", "--minutes", str(decoder_minutes), *place, *again],
        ["training.judges.classifier", *place, *again],
        ["training.judges.scene_judge", *place, *again],
        ["training.stages.export", "--out", str(out), *place],
        *(
            [f"training.stages.{name}", *beside(out, name), *place, *again]
            for name in ("clip", "lcm", "flow")
        ),
        *(
            ["training.stages.controlnet", kind, *beside(out, f"controlnet-{kind}"), *place, *again]
            for kind in KINDS
        ),
        *(["training.judges.map_reader", domain, *place, *again] for domain in DOMAINS),
        *(
            [name, "--model", str(out), *place]
            for name in (
                "training.evaluate",
                "training.evaluation.controls",
                "training.evaluation.controls_together",
            )
        ),
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--out", type=Path, default=Path("models/emoji"))
    parser.add_argument("--vae-minutes", type=float, default=VaeConfig.minutes)
    parser.add_argument("--unet-minutes", type=float, default=UnetConfig.minutes)
    parser.add_argument("--decoder-minutes", type=float, default=DecoderConfig.minutes)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints")
    args = parser.parse_args()
    drawings = load_drawings(args.cache)
    print(f"{len(drawings.keys)} drawings")
    minutes = (args.vae_minutes, args.unet_minutes, args.decoder_minutes)
    for stage in commands(args.cache, args.out, *minutes, args.resume):
        subprocess.run([sys.executable, "-m", *stage], check=True)


if __name__ == "__main__":
    main()
