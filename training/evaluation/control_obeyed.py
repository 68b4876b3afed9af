"""Prompt adherence beside a map, by the judges of `training.evaluate`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.renderings import shrunk
from training.evaluation.control_asks import ControlAsk
from training.evaluation.scenes import SceneAsk, shirts_right, solids_right
from training.judges.classifier import load_classifier
from training.judges.scene_judge import SceneJudge, load_scene_judge, read_solids
from training.judges.verdicts import judge, share


def obeyed(
    pictures: NDArray[np.float32], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """The shares of prompts obeyed, for each kind of thing that is among the asks."""
    found: dict[str, float] = {}
    drawn = [i for i, ask in enumerate(asks) if ask.drawing]
    if drawn:
        wanted = [ask.drawing for ask in asks if ask.drawing]
        verdict = judge(pictures[drawn], wanted, load_classifier(cache)[0])
        found["concept"] = share(verdict.rank < 1)
        found["background"] = share(verdict.background)
    judge_of_scenes = load_scene_judge(cache)[0]
    for name, domain, right in (
        ("shirt", "figure", shirts_right),
        ("solids", "solids", solids_right),
        ("solid_colours", "solids", colours_right),
    ):
        rows = [i for i, ask in enumerate(asks) if _shows(ask) == domain]
        shown = [asks[i] for i in rows]
        scenes = [SceneAsk(a.caption, a.label, a.pixels) for a in shown if a.label]
        if rows:
            found[name] = share(right(judge_of_scenes, pictures[rows], scenes))
    return found


@torch.no_grad()
def colours_right(
    judge: SceneJudge, pictures: NDArray[np.float32], asks: Sequence[SceneAsk]
) -> NDArray[np.bool_]:
    """Check each picture for solids in just the asked colours, whatever their kinds."""
    _, there, count = judge(shrunk(pictures))
    found = [{colour for colour, _ in things} for things in read_solids(there, count)]
    asked = [{colour for colour, _ in ask.label.things} for ask in asks]
    return np.asarray([ours == theirs for ours, theirs in zip(found, asked, strict=True)])


def _shows(ask: ControlAsk) -> str:
    if ask.label is None:
        return "drawing"
    return "figure" if ask.label.shirt else "solids"
