"""Maps that no ControlNet ever saw, with what they ask for and the real picture of each.

- canny, scribble: three of four are drawings of the concepts that are kept from the ControlNets of
  edges (`conditions.HELD_OUT`; no style and no background of them was seen). Every second one is
  mirrored, scaled and moved at random: the UNet knows each drawing by heart and puts it into its
  usual place without a map, so that only the others tell what the map does. The rest are figures
  and solids drawn afresh;
- pose: figures, depth and seg: one or two solids, all drawn afresh, of random numbers that neither
  the training data nor the readers came from.

The UNet has met the held-out concepts, and figures and solids like these: it can draw what the
caption says. What was not met is the map. A map with next to nothing on it asks nothing and is left
out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data import conditions, figures, solids
from training.data.captions import BACKGROUND_NAMES, article
from training.data.colours import background_rgb
from training.data.concepts import Concept, load_concepts
from training.data.drawings import STYLES, Drawings, compose, load_drawings, moved
from training.data.poses import POSES
from training.data.rays import KINDS
from training.data.samples import PLAIN
from training.judges.scene_labels import Label, count_things
from training.judges.verdicts import Ask

STREAM = 19
"""The first number of every seed here; no training data is drawn from it."""
SCENES = 0.25
MOST_SOLIDS = 2
"""The judge of solids is measured on so many."""
LEAST_EDGES = 60
"""White pixels of a map of edges."""


@dataclass(frozen=True)
class ControlAsk:
    """One map and all that is known of the picture it was taken from.

    Args:
        caption: everything said, plainly.
        map: as the ControlNet takes it, (128, 128, 3).
        pixels: the real picture, (128, 128, 3).
        drawing: which drawing it is, else None.
        label: what the scene shows, else None.
        exact: of a figure "keypoints" and "parts", of solids "depth" and "kinds", 0 for floor and
            wall, i + 1 for `rays.KINDS[i]`.
        front: whether a figure is seen from the front.
        moved: whether a drawing is not in its usual place.
    """

    caption: str
    map: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    drawing: Ask | None = None
    label: Label | None = None
    exact: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    front: bool = True
    moved: bool = False


def unseen(kind: str, count: int, cache: Path) -> list[ControlAsk]:
    """`count` maps of one of `conditions.KINDS`."""
    rng = np.random.default_rng((STREAM, conditions.KINDS.index(kind)))
    if kind == "pose":
        return [figure_ask(rng) for _ in range(count)]
    if kind not in conditions.DRAWN:
        return [solids_ask(kind, rng) for _ in range(count)]
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    scenes = round(count * SCENES)
    asks = drawing_asks(kind, concepts, drawings, count - scenes, rng)
    return asks + [scene_edges_ask(kind, row, rng) for row in range(scenes)]


def drawing_asks(
    kind: str,
    concepts: Sequence[Concept],
    drawings: Drawings,
    count: int,
    rng: np.random.Generator,
) -> list[ControlAsk]:
    """Edges of drawings of the held-out concepts, every second one moved."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    kept = np.arange(0, len(concepts), conditions.HELD_OUT)
    found: list[ControlAsk] = []
    while len(found) < count:
        for concept in rng.permutation(kept).tolist():
            style = STYLES[int(rng.integers(len(STYLES)))]
            background = BACKGROUND_NAMES[int(rng.integers(len(BACKGROUND_NAMES)))]
            label = concepts[concept].label
            said = f"{article(label)} {label}, {style} style"
            if background != "white":
                said += f", on {article(background)} {background} background"
            rgba = np.asarray(drawings.pixels[row_of[concepts[concept].code, style]])
            elsewhere = len(found) % 2 == 1
            rgba = moved(rgba, rng) if elsewhere else rgba
            pixels = compose(rgba, background_rgb(background)).round().astype(np.uint8)
            map = conditions.edges(pixels, kind)
            if np.count_nonzero(map[..., 0]) >= LEAST_EDGES:
                ask = Ask(concept, style, background, said)
                found.append(ControlAsk(said, map, pixels, drawing=ask, moved=elsewhere))
    return found[:count]


def figure_ask(rng: np.random.Generator) -> ControlAsk:
    """A figure's skeleton."""
    figure = figures.random_figure(rng)
    drawn = figures.draw(figure)
    return ControlAsk(
        figures.caption(figure, PLAIN, rng),
        conditions.skeleton(drawn.maps["keypoints"]),
        drawn.pixels,
        label=Label(figure.shirt, {}),
        exact=drawn.maps,
        front=not POSES[figure.pose].side,
    )


def solids_ask(kind: str, rng: np.random.Generator) -> ControlAsk:
    """The segments of one or two solids where `kind` is "seg", else their depth."""
    while True:
        scene = solids.random_scene(rng)
        if len(scene.solids) <= MOST_SOLIDS:
            break
    drawn = solids.draw(scene)
    if kind == "seg":
        map = conditions.segments(scene, drawn.maps["segments"])
    else:
        map = conditions.near_is_white(drawn.maps["depth"])
    kinds = [0, *(1 + KINDS.index(solid.kind) for solid in scene.solids)]
    exact = {
        "depth": drawn.maps["depth"],
        "kinds": np.asarray(kinds, np.uint8)[drawn.maps["segments"]],
    }
    said = solids.caption(scene, PLAIN, rng)
    return ControlAsk(said, map, drawn.pixels, label=Label("", count_things(scene)), exact=exact)


def scene_edges_ask(kind: str, row: int, rng: np.random.Generator) -> ControlAsk:
    """The edges of a figure or of solids, in turns."""
    while True:
        ask = solids_ask(kind, rng) if row % 2 else figure_ask(rng)
        map = conditions.edges(ask.pixels, kind)
        if np.count_nonzero(map[..., 0]) >= LEAST_EDGES:
            return ControlAsk(ask.caption, map, ask.pixels, label=ask.label)
