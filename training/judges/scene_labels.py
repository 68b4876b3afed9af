"""Labels of the kept figures and solids, drawn again from the same random numbers.

`training.data.scenes` keeps pictures and captions; a caption may leave things out, so that a judge
cannot learn from captions alone. Nothing is drawn here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import figures, solids
from training.data.samples import Wording
from training.data.scenes import EACH, Scenes

Pair = tuple[str, str]


@dataclass(frozen=True)
class Label:
    """Label of one scene: a shirt's colour, or solids.

    Args:
        shirt: of a figure; "" for solids.
        things: how many solids of each (colour, kind); empty for a figure.
    """

    shirt: str
    things: Mapping[Pair, int]


def count_things(scene: solids.Scene) -> dict[Pair, int]:
    """Count the solids of each colour and kind in a scene."""
    found: dict[Pair, int] = {}
    for solid in scene.solids:
        pair = solid.colour, solid.kind
        found[pair] = found.get(pair, 0) + 1
    return found


def scene_labels(scenes: Scenes) -> list[Label]:
    """A label for every scene, in their order.

    Raises: ValueError: if the captions do not come out as they were kept.
    """
    rng, wording, found = np.random.default_rng(0), Wording(), []
    for row, kept in enumerate(scenes.captions):
        if row % 2 == 0:
            figure = figures.random_figure(rng)
            said = figures.caption(figure, wording, rng)
            found.append(Label(figure.shirt, {}))
        else:
            scene = solids.random_scene(rng)
            said = solids.caption(scene, wording, rng)
            found.append(Label("", count_things(scene)))
        if said != kept:
            raise ValueError(f"scene {row} is {kept!r}, but its numbers say {said!r}: draw it anew")
    return found


def load_labels(scenes: Scenes, cache: Path) -> list[Label]:
    """`scene_labels`, kept in the cache after the first call (a minute)."""
    path = cache / f"scene-labels-{EACH}.json"
    if not path.exists():
        plain = [[x.shirt, [[*p, n] for p, n in x.things.items()]] for x in scene_labels(scenes)]
        path.write_text(json.dumps(plain))
    return [
        Label(shirt, {(colour, kind): n for colour, kind, n in things})
        for shirt, things in json.loads(path.read_text())
    ]
