"""Measures of how well pictures follow their maps, one function for each kind of map.

- canny, scribble, `edge_f1`: the product's own preprocessor finds edges in the picture; see
  `control_scores.edge_f1`. Also of the drawings in their usual place, of those that were moved, and
  of the scenes alone. `lines_found`: the share of asked lines that have a canny edge beside them;
  a scribble marks thin dark lines, which the autoencoder blurs, and which the scribble's threshold
  then misses although they are seen.
- pose, `joints`: the share of asked (visible) joints that the reader of figures finds within 6 px;
  `limbs`: elbows, wrists, knees and ankles alone, which is harder.
- depth, `depth_rank`: Spearman's correlation of the depth that the reader of solids finds with the
  asked one, over the pixels of the asked solids, mean over pictures: whether each solid is where it
  was asked, with its near and far sides. `depth_rank_whole` takes the floor too, which comes
  towards the viewer in any picture: chance scores high there.
- seg, `regions`: the overlap (IoU) of what the reader of solids finds with the asked segments,
  over all pictures together, mean of floor-and-wall and the four kinds; `regions_solids`: of solid
  against floor and wall, whatever the kind, mean of the two.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data import conditions
from training.data.poses import KEYPOINTS
from training.data.rays import KINDS
from training.evaluation.control_asks import ControlAsk
from training.judges.control_scores import (
    edge_f1,
    joints_near,
    lines_found,
    overlaps,
    rank_correlation,
)
from training.judges.map_reader import load_reader, read

LIMBS = [
    row
    for row, name in enumerate(KEYPOINTS)
    if name.rpartition(" ")[2] in ("elbow", "wrist", "knee", "ankle")
]
HEADLINE = {
    "canny": "edge_f1",
    "scribble": "edge_f1",
    "pose": "joints",
    "depth": "depth_rank",
    "seg": "regions",
}
"""The figure by which each kind is judged."""


def followed(
    kind: str, pictures: NDArray[Any], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """The figures of pictures (N, 128, 128, 3) in 0..255, made to the asks' maps, one for one."""
    if kind in conditions.DRAWN:
        found = edges_followed(kind, pictures, asks)
    elif kind == "pose":
        found = pose_followed(pictures, asks, cache)
    elif kind == "depth":
        found = depth_followed(pictures, asks, cache)
    else:
        found = segments_followed(pictures, asks, cache)
    return {name: round(value, 3) for name, value in found.items()}


def edges_followed(
    kind: str, pictures: NDArray[Any], asks: Sequence[ControlAsk]
) -> dict[str, float]:
    """See the module."""
    whole = [np.rint(picture).astype(np.uint8) for picture in pictures]
    maps = [conditions.edges(picture, kind) for picture in whole]
    scores = np.asarray([edge_f1(own, ask.map) for own, ask in zip(maps, asks, strict=True)])
    groups = {
        "": [True] * len(asks),
        "_in_place": [ask.drawing is not None and not ask.moved for ask in asks],
        "_moved": [ask.moved for ask in asks],
        "_scenes": [ask.label is not None for ask in asks],
    }
    found = {f"edge_f1{name}": float(scores[w].mean()) for name, w in groups.items() if any(w)}
    canny = [conditions.edges(picture, "canny") for picture in whole]
    near = [lines_found(own, ask.map) for own, ask in zip(canny, asks, strict=True)]
    return found | {"lines_found": float(np.mean(near))}


def pose_followed(
    pictures: NDArray[Any], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """See the module."""
    joints = read(load_reader(cache, "figures"), "figures", pictures).joints
    near = joints_near(joints, np.stack([ask.exact["keypoints"] for ask in asks]))
    return {"joints": float(np.nanmean(near)), "limbs": float(np.nanmean(near[:, LIMBS]))}


def depth_followed(
    pictures: NDArray[Any], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """See the module."""
    depth = read(load_reader(cache, "solids"), "solids", pictures).depth
    pairs = list(zip(depth, asks, strict=True))
    there = [rank_correlation(own, a.exact["depth"], a.exact["kinds"] > 0) for own, a in pairs]
    whole = [rank_correlation(own, a.exact["depth"]) for own, a in pairs]
    return {"depth_rank": float(np.mean(there)), "depth_rank_whole": float(np.mean(whole))}


def segments_followed(
    pictures: NDArray[Any], asks: Sequence[ControlAsk], cache: Path
) -> dict[str, float]:
    """See the module."""
    labels = read(load_reader(cache, "solids"), "solids", pictures).labels
    asked = np.stack([ask.exact["kinds"] for ask in asks])
    kinds = overlaps(labels, asked, 1 + len(KINDS))
    solid = overlaps((labels > 0).astype(np.uint8), (asked > 0).astype(np.uint8), 2)
    return {"regions": float(np.nanmean(kinds)), "regions_solids": float(np.nanmean(solid))}
