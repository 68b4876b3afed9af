"""Accuracy of figures and solids against what was asked. Part of `training.evaluate`.

- `shirt_right`: the judge of `training.judges.scene_judge` names the asked colour of the shirt.
- `solids_right`: it finds the asked number of solids, and just the asked colours and kinds; the
  captions ask for one or two. Which of two kinds is there twice cannot come up with two.
- `judge_*`: the same of real renderings that the judge never met, `ceiling_*` of the
  autoencoder's reconstructions of them: no picture can score much better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import figures, solids
from training.data.renderings import shrunk
from training.data.samples import PLAIN
from training.judges.scene_judge import (
    COLOURS,
    SceneJudge,
    load_scene_judge,
    read_solids,
    same_things,
)
from training.judges.scene_labels import Label, count_things
from training.judges.verdicts import share

ASKS = 80
Draw = Callable[[list[str]], NDArray[np.float32]]
Reconstruct = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class SceneAsk:
    """A caption, what it asks for, and a real rendering of it, (128, 128, 3) uint8."""

    caption: str
    label: Label
    pixels: NDArray[np.uint8]


def figure_asks(count: int, seed: int = 10**6) -> list[SceneAsk]:
    """Figures with everything said, as plainly as can be."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        figure = figures.random_figure(rng)
        said = figures.caption(figure, PLAIN, rng)
        found.append(SceneAsk(said, Label(figure.shirt, {}), figures.draw(figure).pixels))
    return found


def solid_asks(count: int, seed: int = 10**6) -> list[SceneAsk]:
    """One or two solids with everything said."""
    rng = np.random.default_rng(seed)
    found: list[SceneAsk] = []
    while len(found) < count:
        scene = solids.random_scene(rng)
        if len(scene.solids) <= 2:
            said = solids.caption(scene, PLAIN, rng)
            label = Label("", count_things(scene))
            found.append(SceneAsk(said, label, solids.draw(scene).pixels))
    return found


@torch.no_grad()
def shirts_right(
    judge: SceneJudge, pictures: NDArray[np.float32], asks: Sequence[SceneAsk]
) -> NDArray[np.bool_]:
    """Check each picture, (N, 128, 128, 3) in 0..255, for the asked shirt."""
    found = judge(shrunk(pictures))[0].argmax(1).tolist()
    return np.asarray([COLOURS[i] == a.label.shirt for i, a in zip(found, asks, strict=True)])


@torch.no_grad()
def solids_right(
    judge: SceneJudge, pictures: NDArray[np.float32], asks: Sequence[SceneAsk]
) -> NDArray[np.bool_]:
    """Check each picture for the asked solids."""
    _, there, count = judge(shrunk(pictures))
    found = read_solids(there, count)
    return np.asarray([same_things(f, a.label.things) for f, a in zip(found, asks, strict=True)])


def evaluate_scenes(draw: Draw, reconstruct: Reconstruct, cache: Path) -> dict[str, Any]:
    """The figures of this domain.

    Args:
        draw: captions to pictures, (N, 128, 128, 3) in 0..255.
        reconstruct: pictures through the autoencoder.
    """
    judge, own = load_scene_judge(cache)
    found: dict[str, Any] = {"judge_shirt": own["shirt"], "judge_solids": own["solids"]}
    for name, right, asks in (
        ("shirt", shirts_right, figure_asks(ASKS)),
        ("solids", solids_right, solid_asks(ASKS)),
    ):
        real = np.stack([ask.pixels for ask in asks]).astype(np.float32)
        found[f"{name}_captions"] = len(asks)
        found[f"{name}_right"] = share(right(judge, draw([a.caption for a in asks]), asks))
        found[f"ceiling_{name}"] = share(right(judge, reconstruct(real), asks))
    return found
