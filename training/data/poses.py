"""A jointed body in the plane: named poses, and where the joints come to lie.

Lengths are shares of a standing person's height; x points to the picture's right, y down. Angles
are in degrees from straight down, and positive to the side the limb is bent towards: outwards for
a body seen from the front, forwards for one seen from the side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Limb = tuple[float, float]

# OpenPose's order of 18. "a" is the side nearer to the viewer, or on the left of a front view.
KEYPOINTS = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist"),
    *("left shoulder", "left elbow", "left wrist", "right hip", "right knee", "right ankle"),
    *("left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"),
)
PAIRS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear")
TORSO, UPPER_ARM, FOREARM, THIGH, SHIN = 0.29, 0.155, 0.14, 0.235, 0.225
SHOULDER, HIP, NECK = 0.098, 0.05, 0.052
HEAD_WIDTH, HEAD_HEIGHT = 0.074, 0.088
SIDE_TURN = 62.0
FRONT_TURN = 22.0


@dataclass(frozen=True)
class Pose:
    """One named pose.

    Args:
        said: ways to say it after the noun, the usual one first.
        before: a word to say it before the noun, or "".
        arms: (upper arm, forearm) of side a and of side b.
        legs: (thigh, shin) of side a and of side b.
        side: seen from the side, else from the front.
        lean: of the torso; forwards, or to side b.
        jitter: largest random change of an arm's angle; legs change by half of it.
        lift: height of the feet above the ground.
        seat: whether there is something to sit on.
    """

    said: tuple[str, ...]
    before: str
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    side: bool = False
    lean: float = 0.0
    jitter: float = 8.0
    lift: float = 0.0
    seat: bool = False


POSES: dict[str, Pose] = {
    "standing": Pose(
        ("standing", "standing still"), "standing", ((14, 8), (14, 8)), ((5, 3), (5, 3))
    ),
    "waving": Pose(
        ("waving", "waving hello"), "waving", ((118, 168), (16, 8)), ((5, 3), (5, 3)), jitter=12
    ),
    "arms up": Pose(
        ("with arms up", "with raised arms", "cheering"),
        "cheering",
        ((148, 166), (148, 166)),
        ((10, 6), (10, 6)),
        jitter=14,
    ),
    "arms out": Pose(
        ("with arms out", "with outstretched arms"), "", ((88, 90), (88, 90)), ((7, 4), (7, 4))
    ),
    "hands on hips": Pose(
        ("with hands on hips",), "", ((47, -48), (47, -48)), ((9, 6), (9, 6)), jitter=5
    ),
    "pointing": Pose(
        ("pointing", "pointing sideways"), "pointing", ((90, 92), (14, 6)), ((7, 4), (5, 3))
    ),
    "jumping": Pose(
        ("jumping", "jumping up"),
        "jumping",
        ((132, 150), (132, 150)),
        ((44, -36), (22, 2)),
        jitter=16,
        lift=0.13,
    ),
    "dancing": Pose(
        ("dancing",),
        "dancing",
        ((128, 205), (62, 8)),
        ((4, 0), (46, -16)),
        lean=-7,
        jitter=12,
    ),
    "walking": Pose(
        ("walking",), "walking", ((-24, -2), (28, 46)), ((24, 16), (-14, -34)), side=True, lean=3
    ),
    "running": Pose(
        ("running",),
        "running",
        ((-52, 36), (42, 128)),
        ((68, -14), (-26, -92)),
        side=True,
        lean=13,
        jitter=10,
        lift=0.02,
    ),
    "kicking": Pose(
        ("kicking",),
        "kicking",
        ((-46, -22), (58, 86)),
        ((78, 72), (-6, -14)),
        side=True,
        lean=-14,
        jitter=10,
    ),
    "sitting": Pose(
        ("sitting", "sitting down"),
        "sitting",
        ((14, 66), (22, 74)),
        ((86, 4), (82, -6)),
        side=True,
        lean=2,
        seat=True,
    ),
    "kneeling": Pose(
        ("kneeling", "on one knee"),
        "kneeling",
        ((22, 62), (34, 72)),
        ((84, 2), (-10, -84)),
        side=True,
        lean=5,
        jitter=6,
    ),
}


@dataclass(frozen=True)
class Build:
    """The proportions of one body, each 1 on average."""

    shoulders: float = 1.0
    girth: float = 1.0
    legs: float = 1.0
    head: float = 1.0


def bend(pose: Pose, rng: np.random.Generator) -> tuple[tuple[Limb, Limb], tuple[Limb, Limb]]:
    """The pose's arms and legs with their angles changed at random."""

    def near(limb: Limb, most: float) -> Limb:
        first, second = rng.uniform(-most, most, 2)
        return limb[0] + float(first), limb[1] + float(first) / 2 + float(second)

    arms = near(pose.arms[0], pose.jitter), near(pose.arms[1], pose.jitter)
    most = min(pose.jitter, 10.0) / 2
    return arms, (near(pose.legs[0], most), near(pose.legs[1], most))


def step(angle: float, length: float) -> NDArray[np.float64]:
    """A vector of that length, `angle` degrees from straight down towards +x."""
    return length * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])


def joints(
    pose: Pose,
    arms: tuple[Limb, Limb],
    legs: tuple[Limb, Limb],
    turn: float,
    lean: float,
    nod: float,
    build: Build,
) -> dict[str, NDArray[np.float64]]:
    """Where the joints lie, hips around the origin, facing the picture's right when turned.

    Args:
        turn: degrees between the body's front and the viewer.
        lean: of the torso, degrees.
        nod: of the head against the torso, degrees, towards +x.
    Returns: points by "a shoulder", "b wrist" and the like, and "neck", "head", "nose"; each (2,).
    """
    up = -step(-lean, 1.0)
    found = {"hips": np.zeros(2), "neck": TORSO * up}
    wide = np.cos(np.radians(turn))
    across = np.array([-up[1], up[0]])
    for side, sign in (("a", -1), ("b", 1)):
        i = 0 if side == "a" else 1
        outward = 1 if pose.side else sign
        shoulder = found["neck"] + sign * wide * SHOULDER * build.shoulders * across
        shoulder = shoulder - 0.006 * up
        elbow = shoulder + step(outward * arms[i][0], UPPER_ARM)
        hip = np.array([sign * wide * HIP * build.shoulders, 0.0])
        knee = hip + step(outward * legs[i][0], THIGH * build.legs)
        found |= {
            f"{side} shoulder": shoulder,
            f"{side} elbow": elbow,
            f"{side} wrist": elbow + step(outward * arms[i][1], FOREARM),
            f"{side} hip": hip,
            f"{side} knee": knee,
            f"{side} ankle": knee + step(outward * legs[i][1], SHIN * build.legs),
        }
    axis = -step(-(lean * 0.4 + nod), 1.0)
    found["head"] = found["neck"] + (NECK + HEAD_HEIGHT * build.head) * axis
    for name, azimuth, height in (
        ("nose", 0.0, -0.16),
        *(("a eye", -27.0, 0.06), ("b eye", 27.0, 0.06)),
        *(("a ear", -90.0, -0.04), ("b ear", 90.0, -0.04)),
    ):
        found[name] = on_head(found["head"], axis, turn + azimuth, height, build.head)
    return found


def on_head(
    head: NDArray[np.float64], axis: NDArray[np.float64], azimuth: float, height: float, size: float
) -> NDArray[np.float64]:
    """A point on the head's surface: `azimuth` degrees from the viewer, `height` from -1 to 1."""
    right = np.array([-axis[1], axis[0]])
    reach = HEAD_WIDTH * size * np.sqrt(1 - height * height) * np.sin(np.radians(azimuth))
    return np.asarray(head + reach * right + height * HEAD_HEIGHT * size * axis, np.float64)
