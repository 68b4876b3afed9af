"""Drawn people in named poses and clothes, with the joints where they really are.

A `Figure` is everything that decides one picture; `draw` makes it, `caption` says it. The maps of
a sample are
- "keypoints": (18, 3) float32 in OpenPose's order: x and y in pixels (0 is the left or upper edge
  of the picture) and 1 for visible, 0 for hidden; left and right are the person's own;
- "parts": (128, 128) uint8, the part of the body seen in each pixel, a row of `PARTS`, 0 for none.
Nothing said depends on left or right, so a picture may be mirrored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data.bodies import body
from training.data.captions import BACKGROUND_NAMES, article, say_background
from training.data.colours import NAMED
from training.data.drawings import INNER, SIZE
from training.data.outlines import PARTS, Colour, Looks, Points, Shape, edge_colour, shade
from training.data.poses import FRONT_TURN, KEYPOINTS, POSES, SIDE_TURN, Build, Limb, bend, joints
from training.data.samples import PLAIN, Sample, Wording

SUPERSAMPLE = 3
# How much darker the limbs on the far side are.
FAR_SHADE = 0.9
# A foot this much above the other does not stand, in heights.
HIGH = 0.1
WOOD = (186, 140, 98)
WHITE_SHARE = 0.4
# Drawings of the emoji domain have these very names, so here some clothes are always said.
NAMED_ELSEWHERE = ("running", "walking")
SKINS = ((255, 219, 186), (240, 190, 150), (205, 145, 100), (150, 98, 64), (98, 62, 42))
HAIR_STYLES = ("short", "parted", "long", "bun", "curly", "tail", "bald")
HAIR_COLOURS = ((45, 35, 35), (92, 58, 38), (150, 95, 50), (225, 180, 100), (150, 145, 145))
SHOE_COLOURS = ((70, 60, 60), (120, 80, 55), (170, 175, 185), (60, 75, 110))


@dataclass(frozen=True)
class Figure:
    """Everything that decides one drawing.

    Args:
        pose: a key of `POSES`.
        shirt, trousers: keys of `NAMED`.
        background: "white" or a named background.
        skin, hair_colour, shoes: rows of their tables.
        hair: one of `HAIR_STYLES`.
        long_sleeves: whether the shirt reaches to the wrists.
        arms, legs, turn, lean, nod: as in `poses.joints`.
        build: the body's proportions.
        mirrored: whether the drawing is turned left for right.
        share: of the inner 112 px, filled by the longer side.
        place: where it stands in the room left over, (0, 0) upper left to (1, 1) lower right.
    """

    pose: str
    shirt: str
    trousers: str
    background: str
    skin: int
    hair: str
    hair_colour: int
    shoes: int
    long_sleeves: bool
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    turn: float
    lean: float
    nod: float
    build: Build
    mirrored: bool
    share: float
    place: tuple[float, float]


def random_figure(rng: np.random.Generator) -> Figure:
    """A figure with everything chosen at random.

    Clothes never have the colour of a named background, on which they would be lost.
    """

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    name = pick(tuple(POSES))
    pose = POSES[name]
    background = "white" if rng.random() < WHITE_SHARE else pick(BACKGROUND_NAMES[1:])
    wardrobe = [c for c in NAMED if c != background or c == "white"]
    arms, legs = bend(pose, rng)
    turn = SIDE_TURN + rng.uniform(-6, 6) if pose.side else rng.uniform(-FRONT_TURN, FRONT_TURN)
    shoulders, girth, leg_length, head = rng.uniform(
        (0.92, 0.9, 0.94, 0.98), (1.1, 1.15, 1.06, 1.12)
    )
    return Figure(
        pose=name,
        shirt=pick(wardrobe),
        trousers=pick(wardrobe),
        background=background,
        skin=int(rng.integers(len(SKINS))),
        hair=pick(HAIR_STYLES),
        hair_colour=int(rng.integers(len(HAIR_COLOURS))),
        shoes=int(rng.integers(len(SHOE_COLOURS))),
        long_sleeves=bool(rng.random() < 0.5),
        arms=arms,
        legs=legs,
        turn=float(turn),
        lean=pose.lean + float(rng.uniform(-3, 3)),
        nod=float(rng.uniform(-7, 7)),
        build=Build(float(shoulders), float(girth), float(leg_length), float(head)),
        mirrored=bool(rng.random() < 0.5),
        share=float(rng.uniform(0.94, 1)),
        place=(float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.4, 1))),
    )


def caption(figure: Figure, wording: Wording, rng: np.random.Generator) -> str:
    """One way to ask for the figure: who does what, the clothes, the background."""
    pose = POSES[figure.pose]
    noun = "figure" if rng.random() < wording.synonym else "person"
    later = len(pose.said) > 1 and rng.random() < wording.synonym * 2
    doing = pose.said[int(rng.integers(1, len(pose.said)))] if later else pose.said[0]
    first = bool(pose.before) and rng.random() < wording.pose_first
    name = f"{pose.before} {noun}" if first else f"{noun} {doing}"
    if rng.random() < wording.article:
        name = f"{article(name)} {name}"
    shirt = rng.random() >= wording.unsaid_shirt or figure.pose in NAMED_ELSEWHERE
    trousers = rng.random() >= wording.unsaid_trousers
    top = "t-shirt" if rng.random() < wording.synonym else "shirt"
    bottom = "pants" if rng.random() < wording.synonym else "trousers"
    clothes = [f"{figure.shirt} {top}"] * shirt + [f"{figure.trousers} {bottom}"] * trousers
    parts = [name]
    if clothes and rng.random() < wording.worn:
        worn = [f"{article(c)} {c}" if c.endswith(top) else c for c in clothes]
        parts = [f"{name} {'in' if rng.random() < 0.75 else 'wearing'} {' and '.join(worn)}"]
    else:
        parts += clothes
    if figure.background != "white" or rng.random() < wording.named_white:
        varied = rng.random() < wording.varied_background
        plain = f"on {article(figure.background)} {figure.background} background"
        parts.append(say_background(figure.background, rng) if varied else plain)
    return ", ".join(parts)


def person_shapes(figure: Figure, at: Mapping[str, Points]) -> list[Shape]:
    """Ground, seat and person, back to front; in heights, not yet mirrored."""
    pose = POSES[figure.pose]
    looks = Looks(
        shirt=NAMED[figure.shirt],
        trousers=NAMED[figure.trousers],
        skin=SKINS[figure.skin],
        shoes=SHOE_COLOURS[figure.shoes],
        hair=figure.hair,
        hair_colour=HAIR_COLOURS[figure.hair_colour],
        long_sleeves=figure.long_sleeves,
        far=FAR_SHADE if pose.side else 1.0,
    )
    shapes = body(at, looks, figure.build, figure.turn, front=not pose.side)
    low = max(float(shape.corners[:, 1].max()) for shape in shapes)
    seat = _seat(0.05 * figure.build.girth, low) if pose.seat else []
    return [_ground(figure, at, low), *seat, *shapes]


def _seat(top: float, low: float) -> list[Shape]:
    """A wooden stool under the hips: a board and two legs."""

    def box(left: float, right: float, upper: float, lower: float, colour: Colour) -> Shape:
        corners = [(left, upper), (right, upper), (right, lower), (left, lower)]
        return Shape(np.array(corners), colour, "seat")

    legs = [box(x, x + 0.032, top + 0.02, low, edge_colour(WOOD)) for x in (-0.115, 0.075)]
    return [*legs, box(-0.14, 0.132, top, top + 0.045, WOOD)]


def _fit(shapes: Sequence[Shape], figure: Figure) -> tuple[float, Points]:
    """The scale in px and the offset that put all shapes into the inner 112 px."""
    corners = np.concatenate([shape.corners for shape in shapes])
    low, high = corners.min(0), corners.max(0)
    # Half a pixel to spare on each side: a polygon is painted a little larger than it is.
    room = INNER - 1
    scale = figure.share * room / float((high - low).max())
    free = room - scale * (high - low)
    margin = (SIZE - room) / 2
    return scale, margin + free * np.array(figure.place) - scale * low


def _keypoints(
    figure: Figure, at: Mapping[str, Points], parts: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """OpenPose's 18 points from the joints in pixels, (18, 3)."""
    right = "b" if figure.mirrored else "a"
    left = "a" if figure.mirrored else "b"
    found = np.zeros((len(KEYPOINTS), 3), np.float32)
    for row, name in enumerate(KEYPOINTS):
        side, _, joint = name.rpartition(" ")
        key = f"{right if side == 'right' else left} {joint}" if side else joint
        x, y = at[key]
        seen = PARTS[parts[int(y), int(x)]]
        found[row] = x, y, _is_visible(key, seen, figure.turn)
    return found


def _is_visible(joint: str, seen: str, turn: float) -> bool:
    """Whether a joint shows, given the part of the body seen in its pixel."""
    side, _, kind = joint.rpartition(" ")
    if kind in ("eye", "ear"):
        azimuth = turn + (27 if kind == "eye" else 90) * (-1 if side == "a" else 1)
        return abs(azimuth) < (85 if kind == "eye" else 115)
    own = {
        "nose": ("head",),
        "neck": ("head", "torso", "a arm", "b arm"),
        "shoulder": (f"{side} arm", "torso"),
        "hip": (f"{side} leg", "torso"),
        "knee": (f"{side} leg",),
        "ankle": (f"{side} leg",),
    }
    return seen in own.get(kind, (f"{side} arm",))


def _ground(figure: Figure, at: Mapping[str, Points], low: float) -> Shape:
    """A flat shadow under the feet that stand, smaller under the hips of someone who jumps.

    Args:
        low: the lowest point of the person.
    """
    lift = POSES[figure.pose].lift
    feet = [at["hips"]] if lift > HIGH else [at["a ankle"], at["b ankle"]]
    lowest = max(foot[1] for foot in feet)
    middle = float(np.mean([foot[0] for foot in feet if foot[1] > lowest - HIGH]))
    wide = 0.16 if lift > HIGH else 0.22
    angles = np.linspace(0, 2 * np.pi, 49)[:-1]
    x, y = middle + wide * np.cos(angles), low + lift + 0.022 * np.sin(angles)
    return Shape(np.stack([x, y], 1), shade(NAMED[figure.background], 0.9), "nothing")


def draw(figure: Figure) -> Sample:
    """The figure's picture, plainest caption, keypoints and parts.

    The drawing and the ground it stands on leave 8 px of plain background on every side.
    """
    pose = POSES[figure.pose]
    at = joints(pose, figure.arms, figure.legs, figure.turn, figure.lean, figure.nod, figure.build)
    shapes = person_shapes(figure, at)
    flip = np.array([-1.0 if figure.mirrored else 1.0, 1.0])
    shapes = [Shape(s.corners * flip, s.colour, s.part) for s in shapes]
    scale, offset = _fit(shapes, figure)
    size = (SIZE * SUPERSAMPLE,) * 2
    picture = Image.new("RGB", size, NAMED[figure.background])
    labels = Image.new("L", (SIZE, SIZE))
    canvas, label_canvas = ImageDraw.Draw(picture), ImageDraw.Draw(labels)
    placed = [s.corners * scale + offset for s in shapes]
    for shape, corners in zip(shapes, placed, strict=True):
        canvas.polygon((corners * SUPERSAMPLE).ravel().tolist(), fill=shape.colour)
        label_canvas.polygon(corners.ravel().tolist(), fill=PARTS.index(shape.part))
    parts = np.asarray(labels, np.uint8)
    pixels = np.asarray(picture.reduce(SUPERSAMPLE), np.uint8)
    in_pixels = {name: point * flip * scale + offset for name, point in at.items()}
    keypoints = _keypoints(figure, in_pixels, parts)
    maps: dict[str, NDArray[Any]] = {"keypoints": keypoints, "parts": parts}
    return Sample(pixels, caption(figure, PLAIN, np.random.default_rng(0)), maps)


def sample(rng: np.random.Generator, wording: Wording | None = None) -> Sample:
    """A random figure with one of its captions."""
    figure = random_figure(rng)
    drawn = draw(figure)
    return Sample(drawn.pixels, caption(figure, wording or Wording(), rng), drawn.maps)
