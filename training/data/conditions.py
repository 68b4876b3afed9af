"""Condition maps as a ControlNet meets them in the product: RGB pictures of the training data.

Edges and scribbles are found in a picture by the product's own preprocessors; skeletons, depth and
segments are exact, and drawn in the preprocessors' colours.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines import preprocessors
from pipelines.preprocessors import Skeleton, draw_skeletons
from training.data import figures, solids
from training.data.captions import BACKGROUND_NAMES, Wording, caption
from training.data.colours import background_rgb
from training.data.concepts import Concept, load_concepts
from training.data.drawings import SIZE, STYLES, Drawings, compose, load_drawings, moved
from training.data.rays import KINDS as SOLIDS
from training.data.samples import Sample
from training.data.samples import Wording as SceneWording

KINDS = ("canny", "scribble", "pose", "depth", "seg")
DRAWN: Mapping[str, Mapping[str, Any]] = {
    "canny": {"low": 100, "high": 200},
    "scribble": {"find": "outlines", "threshold": 32},
}
"""Kinds that any picture has, and how they are found; the others come with one domain."""
HELD_OUT = 10
"""Every tenth concept is kept from the ControlNets of edges: they are measured on them."""
IN_PLACE = 0.2
"""Share of the drawings with edges that lie where the UNet knows them; it draws those without a
map, so that only the others teach what the map is for."""
SCENES = 0.25
"""Share of the pictures with edges that are figures or solids."""

Maker = Callable[[np.random.Generator], tuple[Sample, NDArray[np.uint8]]]

# Segments of a solids picture, in their order in `solids.KINDS`; 0 is floor and wall.
SEGMENT_COLOURS = ((0, 0, 0), (230, 70, 60), (70, 140, 240), (80, 190, 90), (245, 190, 60))

Picture = NDArray[np.uint8]


def edges(pixels: Picture, kind: str) -> Picture:
    """The product's `canny` or `scribble` map of a picture, (128, 128, 3)."""
    found = preprocessors.run(kind, Image.fromarray(pixels), DRAWN[kind], (SIZE, SIZE))
    return np.asarray(found.convert("RGB"), np.uint8)


def skeleton(keypoints: NDArray[np.float32]) -> Picture:
    """A figure's exact joints as an OpenPose picture, hidden ones left out.

    Args:
        keypoints: (18, 3) x, y in pixels and visibility, as `figures` gives them.
    """
    joints = [(float(x) / SIZE, float(y) / SIZE) if seen > 0 else None for x, y, seen in keypoints]
    drawn = draw_skeletons([Skeleton.of(joints)], (SIZE, SIZE))
    return np.asarray(drawn.convert("RGB"), np.uint8)


def near_is_white(inverse_depth: NDArray[np.float32]) -> Picture:
    """Exact inverse depth stretched to 0..255, nearest white, as depth detectors give it."""
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    grey = np.rint((inverse_depth - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def segments(scene: solids.Scene, met: NDArray[np.uint8]) -> Picture:
    """Which kind of solid is seen in each pixel, in `SEGMENT_COLOURS`.

    Args:
        met: number of the solid seen from 1, 0 for none, (128, 128).
    """
    kinds = [0, *(1 + SOLIDS.index(solid.kind) for solid in scene.solids)]
    colours: Picture = np.asarray(SEGMENT_COLOURS, np.uint8)[np.asarray(kinds)[met]]
    return colours


def exact_map(kind: str, rng: np.random.Generator) -> tuple[Sample, Picture]:
    """A fresh picture with its `pose`, `depth` or `seg` map."""
    if kind == "pose":
        sample = figures.sample(rng)
        return sample, skeleton(sample.maps["keypoints"])
    scene = solids.random_scene(rng)
    drawn = solids.draw(scene)
    said = solids.caption(scene, SceneWording(), rng)
    sample = Sample(drawn.pixels, said, drawn.maps)
    if kind == "depth":
        return sample, near_is_white(drawn.maps["depth"])
    return sample, segments(scene, drawn.maps["segments"])


def edge_maker(kind: str, drawings: Drawings, concepts: Sequence[Concept]) -> Maker:
    """What draws a drawing, a figure or solids with its `canny` or `scribble` map."""
    row_of = {key: row for row, key in enumerate(drawings.keys)}
    shown = [c for row, c in enumerate(concepts) if row % HELD_OUT]

    def drawing(rng: np.random.Generator) -> Sample:
        concept = shown[rng.integers(len(shown))]
        style = STYLES[rng.integers(len(STYLES))]
        background = BACKGROUND_NAMES[rng.integers(len(BACKGROUND_NAMES))]
        rgba = np.asarray(drawings.pixels[row_of[concept.code, style]])
        rgba = rgba if rng.random() < IN_PLACE else moved(rgba, rng)
        pixels = compose(rgba, background_rgb(background)).round().astype(np.uint8)
        return Sample(pixels, caption(concept, style, background, Wording(), rng))

    def make(rng: np.random.Generator) -> tuple[Sample, Picture]:
        if rng.random() < SCENES:
            sample = (figures, solids)[rng.integers(2)].sample(rng)
        else:
            sample = drawing(rng)
        return sample, edges(sample.pixels, kind)

    return make


@dataclass(frozen=True)
class Conditioned:
    """Pictures with one kind of map.

    Args:
        pixels, maps: (N, 128, 128, 3) uint8 each; may be memory-mapped.
        captions: N texts.
    """

    pixels: Picture
    maps: Picture
    captions: list[str]


def load_conditioned(cache: Path, kind: str, count: int, seed: int) -> Conditioned:
    """`count` pictures with their maps of a kind; drawn on the first call."""
    stem = cache / f"conditions-{kind}-{count}-{seed}"
    files = [stem.with_suffix(end) for end in (".pixels.npy", ".maps.npy", ".json")]
    if not all(file.exists() for file in files):
        cache.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, KINDS.index(kind)))
        if kind in DRAWN:
            drawings = load_drawings(cache)
            make = edge_maker(kind, drawings, load_concepts(drawings.names))
        else:
            make = partial(exact_map, kind)
        pixels, maps = (np.empty((count, SIZE, SIZE, 3), np.uint8) for _ in range(2))
        captions = []
        for row in range(count):
            sample, maps[row] = make(rng)
            pixels[row] = sample.pixels
            captions.append(sample.caption)
        np.save(files[0], pixels)
        np.save(files[1], maps)
        files[2].write_text(json.dumps(captions))
    pixels, maps = (np.load(file, mmap_mode="r") for file in files[:2])
    return Conditioned(pixels, maps, json.loads(files[2].read_text()))
