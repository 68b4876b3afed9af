"""Folder of a training run: its log, its saved Config, and the options that name it."""

import argparse
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from training.data.sources import cache_dir
from training.optim.schedule import RunConfig

log = logging.getLogger("training")
Config = TypeVar("Config", bound=RunConfig)


def start_log(folder: Path, stage: str) -> None:
    """Log to the terminal and to `folder/<stage>.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(folder / f"{stage}.log"),
    ]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )


def stage_parser(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """The command line that every stage has: `minutes`, `cache` and `resume`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser


def run_stage(
    description: str | None, config: type[Config], train: Callable[[Config, Path, bool], Path]
) -> None:
    """Run the command line of a stage that has no options of its own.

    Args:
        train: from the config, the cache and whether to resume, to the checkpoint's path.
    """
    args = stage_parser(description, config.minutes).parse_args()
    train(config(minutes=args.minutes), args.cache, args.resume)


def save_config(config: Any, folder: Path) -> None:
    """Print a frozen Config and write it to `folder/config.json`."""
    text = json.dumps(dataclasses.asdict(config), indent=2, default=str)
    log.info("config %s", text)
    (folder / "config.json").write_text(text + "\n")


def read_fields(folder: Path) -> dict[str, Any]:
    """Read what `save_config` wrote, by the fields' names; lists as tuples."""
    fields: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}


def open_run(folder: Path, stage: str, config: RunConfig) -> None:
    """Begin a run's log, save its Config and seed torch."""
    start_log(folder, stage)
    save_config(config, folder)
    torch.manual_seed(config.seed)
