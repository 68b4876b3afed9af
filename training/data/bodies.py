"""The shapes of a drawn person, back to front: limbs in clothes, a torso, and the head."""

from collections.abc import Mapping

import numpy as np

from training.data.heads import Head
from training.data.outlines import (
    EDGE,
    Looks,
    Points,
    Shape,
    blob,
    edge_colour,
    limb,
    shade,
)
from training.data.poses import Build


def arm(at: Mapping[str, Points], side: str, looks: Looks, girth: float) -> list[Shape]:
    """Skin from the shoulder to the hand, and a sleeve over it."""
    tone = looks.far if side == "b" else 1.0
    shoulder, elbow, wrist = (at[f"{side} {joint}"] for joint in ("shoulder", "elbow", "wrist"))
    part, skin, shirt = f"{side} arm", shade(looks.skin, tone), shade(looks.shirt, tone)
    hand = wrist + 0.018 * (wrist - elbow) / np.linalg.norm(wrist - elbow)
    thick, mid, thin = (r * girth for r in (0.036, 0.028, 0.022))
    shapes = limb([elbow, wrist, hand], [mid - 0.003, thin - 0.003, 0.026], skin, part)
    if looks.long_sleeves:
        cuff = elbow + 0.92 * (wrist - elbow)
        return shapes + limb([shoulder, elbow, cuff], [thick, mid, thin + 0.002], shirt, part)
    shapes = limb(
        [shoulder, elbow, wrist, hand],
        [thick - 0.006, mid - 0.003, thin - 0.003, 0.026],
        skin,
        part,
    )
    hem = shoulder + 0.66 * (elbow - shoulder)
    return shapes + limb([shoulder, hem], [thick, thick], shirt, part)


def leg(
    at: Mapping[str, Points], side: str, looks: Looks, girth: float, front: bool
) -> list[Shape]:
    """A shoe, and a trouser leg over it."""
    tone = looks.far if side == "b" else 1.0
    hip, knee, ankle = (at[f"{side} {joint}"] for joint in ("hip", "knee", "ankle"))
    part = f"{side} leg"
    down = (ankle - knee) / np.linalg.norm(ankle - knee)
    if front:
        outward = np.array([-0.028 if side == "a" else 0.028, 0.0])
        heel, toe = ankle + 0.016 * down, ankle + 0.03 * down + outward
    else:
        forward = np.array([down[1], -down[0]])
        heel = ankle + 0.016 * down - 0.008 * forward
        toe = ankle + 0.024 * down + 0.072 * forward
    radii = [r * girth for r in (0.052, 0.04, 0.031)]
    shoe = limb([heel, toe], [0.03, 0.023], shade(looks.shoes, tone), part)
    return shoe + limb([hip, knee, ankle], radii, shade(looks.trousers, tone), part)


def torso(at: Mapping[str, Points], looks: Looks, build: Build, wide: float) -> list[Shape]:
    """The shirt from the shoulders to just below the hips; `wide` is 1 from the front."""
    up = (at["neck"] - at["hips"]) / np.linalg.norm(at["neck"] - at["hips"])
    right = np.array([-up[1], up[0]])
    height = float(np.linalg.norm(at["neck"] - at["hips"]))

    def width(front: float, profile: float) -> float:
        return (profile + (front - profile) * wide) * (0.5 + 0.5 * build.shoulders)

    rows = [
        (1.07, width(0.04, 0.036)),
        (1.03, width(0.098, 0.056)),
        (0.90, width(0.126, 0.072)),
        (0.62, width(0.104, 0.079)),
        (0.30, width(0.092, 0.073)),
        (0.02, width(0.103, 0.077)),
        (-0.10, width(0.1, 0.074)),
    ]
    left = [at["hips"] + h * height * up - w * right for h, w in rows]
    other = [at["hips"] + h * height * up + w * right for h, w in reversed(rows)]
    corners = np.array(left + other)
    return [
        Shape(blob(corners, EDGE), edge_colour(looks.shirt), "torso"),
        Shape(blob(corners), looks.shirt, "torso"),
    ]


def pelvis(at: Mapping[str, Points], looks: Looks, girth: float) -> list[Shape]:
    """The seat of the trousers, between the hips."""
    return limb([at["a hip"], at["b hip"]], [0.053 * girth] * 2, looks.trousers, "torso")


def body(
    at: Mapping[str, Points], looks: Looks, build: Build, turn: float, front: bool
) -> list[Shape]:
    """All shapes of a person, back to front; from the front the arms lie behind the torso."""
    girth, wide = build.girth, float(np.cos(np.radians(turn)))
    head = Head(at, turn, looks, build.head)
    far, near = arm(at, "b", looks, girth), arm(at, "a", looks, girth)
    return [
        *head.behind(),
        *far,
        *(near if front else []),
        *leg(at, "b", looks, girth, front),
        *pelvis(at, looks, girth),
        *leg(at, "a", looks, girth, front),
        *head.neck(),
        *torso(at, looks, build, wide),
        *([] if front else near),
        *head.front(),
    ]
