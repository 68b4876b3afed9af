"""One to three plain solids in named colours on a light floor, ray-cast with light and shadow.

A `Scene` is everything that decides one picture; `draw` makes it, `caption` says it. The maps of a
sample are
- "depth": (128, 128) float32 in (0, 1], inverse depth as MiDaS and the ControlNets trained on it
  have it: z_min / z, z the distance along the view axis; 1 is the nearest point of the picture;
- "segments": (128, 128) uint8, 0 for floor and wall, i + 1 for `scene.solids[i]`, which holds the
  kind and the colour.
Both are taken at the middle of each pixel. Nothing said depends on left or right, so a picture may
be mirrored.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from training.data.captions import article
from training.data.colours import NAMED
from training.data.drawings import INNER, SIZE
from training.data.lighting import Light, render
from training.data.rays import KINDS, Camera, Solid, cast
from training.data.samples import PLAIN, Sample, Wording

COUNT_SHARES = (0.42, 0.4, 0.18)
TWIN_SHARE = 0.25
GAP = 0.12
PLACES = 20
MOST_HIDDEN = 0.3
CHECK_STEP = 4
NUMBERS = {2: "two", 3: "three"}
OTHER_WORDS = {"sphere": "ball", "cube": "block"}
BESIDE = ("next to", "beside", "near")


@dataclass(frozen=True)
class Scene:
    """Everything that decides one picture.

    The camera looks along +y; the solids' places and spins are random, which is as good as walking
    around them.

    Args:
        solids: one to three.
        camera: where it is seen from.
        light: where the light comes from.
        greys: of the floor and the wall, 0..255.
    """

    solids: tuple[Solid, ...]
    camera: Camera
    light: Light
    greys: tuple[float, float]


def _random_solids(rng: np.random.Generator) -> tuple[Solid, ...]:
    """Solids that stand apart, their middle over the origin."""
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    colours = list(NAMED)
    kind, colour = (int(rng.integers(n)) for n in (len(KINDS), len(colours)))
    twins = rng.random() < TWIN_SHARE
    reach = np.array([0.35 + 0.3 * count, 0.25 + 0.22 * count])
    found: list[Solid] = []
    while len(found) < count:
        if not twins:
            kind, colour = (int(rng.integers(n)) for n in (len(KINDS), len(colours)))
        size, spin = rng.uniform((0.42, 0), (0.66, 90))
        new = Solid(KINDS[kind], colours[colour], 0.0, 0.0, float(size), float(spin))
        for _ in range(PLACES):
            x, y = rng.uniform(-reach, reach)
            new = replace(new, x=float(x), y=float(y))
            room = [np.hypot(new.x - s.x, new.y - s.y) - s.footprint for s in found]
            if all(gap > new.footprint + GAP for gap in room):
                found.append(new)
                break
        else:
            found = []
    x, y = np.mean([(s.x, s.y) for s in found], 0)
    return tuple(replace(s, x=s.x - float(x), y=s.y - float(y)) for s in found)


def _random_camera(solids: tuple[Solid, ...], rng: np.random.Generator) -> Camera:
    """A camera from which the solids fill most of the picture, off the outermost 8 px."""
    elevation, distance = rng.uniform((17, 5.5), (38, 8))
    target = max(solid.height for solid in solids) / 2
    camera = Camera(float(elevation), float(distance), target, 1.0, (0.0, 0.0))
    corners = camera.project(np.concatenate([solid.bounds() for solid in solids]))
    low, high = corners.min(0), corners.max(0)
    share = rng.uniform(0.6, 0.85) if len(solids) == 1 else rng.uniform(0.86, 1)
    focal = float(share) * INNER / float((high - low).max())
    free = INNER - focal * (high - low)
    place = rng.uniform(0.25, 0.75, 2)
    centre = (SIZE - INNER) / 2 + free * place - focal * low
    return replace(camera, focal=focal, centre=(float(centre[0]), float(centre[1])))


def hidden_shares(solids: tuple[Solid, ...], camera: Camera) -> list[float]:
    """How much of each solid stands behind others, 0..1, on a coarse grid of rays."""
    coarse = replace(
        camera,
        focal=camera.focal / CHECK_STEP,
        centre=(camera.centre[0] / CHECK_STEP, camera.centre[1] / CHECK_STEP),
    )
    side = SIZE // CHECK_STEP
    rays = coarse.rays(side, 1)
    met = cast(solids, coarse, rays, side, 1)[1]
    found = []
    for index, solid in enumerate(solids):
        alone = int((cast([solid], coarse, rays, side, 1)[1] == 1).sum())
        found.append(1 - int((met == index + 1).sum()) / max(alone, 1))
    return found


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene with everything chosen at random, no solid hidden by more than 30 %."""
    while True:
        solids = _random_solids(rng)
        camera = _random_camera(solids, rng)
        if len(solids) == 1 or max(hidden_shares(solids, camera)) <= MOST_HIDDEN:
            break
    side = 1 if rng.random() < 0.5 else -1
    azimuth, elevation = rng.uniform((25, 44), (75, 56))
    floor, wall = rng.uniform((216, 230), (234, 248))
    light = Light(side * float(azimuth), float(elevation))
    return Scene(solids, camera, light, (float(floor), float(wall)))


def caption(scene: Scene, wording: Wording, rng: np.random.Generator) -> str:
    """One way to ask for the scene: "a red cube and two blue spheres", in any order."""
    coloured = rng.random() >= wording.unsaid_colours
    words = {
        kind: OTHER_WORDS.get(kind, kind) if rng.random() < wording.synonym else kind
        for kind in KINDS
    }
    named = [(f"{s.colour} " if coloured else "") + words[s.kind] for s in scene.solids]
    counts = list(Counter(named).items())
    with_article = rng.random() < wording.article
    said = []
    for index in rng.permutation(len(counts)):
        name, count = counts[index]
        if count > 1:
            said.append(f"{NUMBERS[count]} {name}s")
        else:
            said.append(f"{article(name)} {name}" if with_article else name)
    if len(said) == 2 and rng.random() < wording.beside:
        return f" {BESIDE[int(rng.integers(len(BESIDE)))]} ".join(said)
    return " and ".join([", ".join(said[:-1])] * (len(said) > 1) + said[-1:])


def draw(scene: Scene) -> Sample:
    """The scene's picture, plainest caption, depth and segments."""
    depth, met = cast(scene.solids, scene.camera, scene.camera.rays(SIZE, 1), SIZE, 1)
    pixels = render(scene.solids, scene.camera, scene.light, scene.greys)
    maps = {"depth": depth.min() / depth, "segments": met}
    return Sample(pixels, caption(scene, PLAIN, np.random.default_rng(0)), maps)


def sample(rng: np.random.Generator, wording: Wording | None = None) -> Sample:
    """A random scene with one of its captions."""
    scene = random_scene(rng)
    drawn = draw(scene)
    return Sample(drawn.pixels, caption(scene, wording or Wording(), rng), drawn.maps)
