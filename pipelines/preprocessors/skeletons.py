"""Pose skeletons: joints that can be moved, hidden, written as JSON and drawn as OpenPose."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Placement, Size

Point = tuple[float, float]

JOINTS = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist"),
    *("left shoulder", "left elbow", "left wrist", "right hip", "right knee", "right ankle"),
    *("left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear"),
)
"""OpenPose's order of 18; left and right are the person's own."""
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the joints; limbs take the same colours in their own order, darker."""
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
LIMB_SHADE = 0.6
SHAPE = f"{len(JOINTS)} joints, each [x, y] from 0 to 1 or null"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Skeleton of one person: the joints of OpenPose's body model.

    Attributes:
        joints: x and y of each of `JOINTS`, as shares of the picture's width and height; None
            where it was not found.
        visibility: how sure each joint is, 0..1; a joint at 0 is hidden: kept, but not drawn.
    """

    joints: tuple[Point | None, ...]
    visibility: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.joints) != len(JOINTS) or len(self.visibility) != len(JOINTS):
            raise InvalidRequest(
                f"a skeleton has {len(self.joints)} joints and {len(self.visibility)} "
                f"visibilities; it must have {len(JOINTS)} of each"
            )
        for name, point, seen in zip(JOINTS, self.joints, self.visibility, strict=True):
            if point is not None and not all(0 <= value <= 1 for value in point):
                raise InvalidRequest(f"{name} is at {point}; x and y must be from 0 to 1")
            if not 0 <= seen <= 1:
                raise InvalidRequest(f"{name} has visibility {seen}; it must be from 0 to 1")

    @classmethod
    def of(cls, joints: Sequence[Point | None]) -> Skeleton:
        """Build a skeleton whose joints are all seen. Raises: InvalidRequest."""
        return cls(tuple(joints), tuple(0.0 if point is None else 1.0 for point in joints))

    def drawn(self, joint: int) -> Point | None:
        """Locate a joint that is to be drawn; None for others."""
        return self.joints[joint] if self.visibility[joint] > 0 else None

    def moved(self, joint: int, point: Point | None) -> Skeleton:
        """Move one joint, which is then seen, or remove it. Raises: InvalidRequest."""
        return self._with(joint, point, 0.0 if point is None else 1.0)

    def hidden(self, joint: int) -> Skeleton:
        """Hide one joint; it can be shown again where it was."""
        return self._with(joint, self.joints[joint], 0.0)

    def placed(self, placement: Placement, size: Size) -> Skeleton:
        """Map the joints from a part of a picture to the map of this size that the part lies on."""
        (left, upper), (width, height) = placement.corner, placement.size
        joints = tuple(
            point and ((left + point[0] * width) / size[0], (upper + point[1] * height) / size[1])
            for point in self.joints
        )
        return replace(self, joints=joints)

    def _with(self, joint: int, point: Point | None, seen: float) -> Skeleton:
        joints, visibility = list(self.joints), list(self.visibility)
        joints[joint], visibility[joint] = point, seen
        return replace(self, joints=tuple(joints), visibility=tuple(visibility))


STANDING = (
    *((0.50, 0.18), (0.50, 0.28), (0.42, 0.29), (0.38, 0.42), (0.36, 0.54)),
    *((0.58, 0.29), (0.62, 0.42), (0.64, 0.54), (0.45, 0.54), (0.44, 0.72), (0.44, 0.90)),
    *((0.55, 0.54), (0.56, 0.72), (0.56, 0.90)),
    *((0.48, 0.16), (0.52, 0.16), (0.45, 0.17), (0.55, 0.17)),
)
"""Joints of a person who stands, in shares of a square."""


def standing(size: Size) -> Skeleton:
    """Build a person who stands in the middle of a map, as tall as it has room for.

    Args:
        size: width and height of the map in pixels.
    """
    side = min(size[1], 2 * size[0])  # so tall a person is less wide than half of that
    across, down = side / size[0], side / size[1]
    return Skeleton.of(
        [
            (round(0.5 + (x - 0.5) * across, 6), round(0.5 + (y - 0.5) * down, 6))
            for x, y in STANDING
        ]
    )


def to_json(skeletons: Sequence[Skeleton]) -> str:
    """Write skeletons as JSON: objects with `joints` and `visibility`, as in `Skeleton`."""
    return json.dumps([{"joints": s.joints, "visibility": s.visibility} for s in skeletons])


def from_json(text: str) -> list[Skeleton]:
    """Read the skeletons that `to_json` wrote; without visibility, every joint is seen.

    Raises: InvalidRequest: if the text is anything else.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"skeletons are not JSON: {error}") from None
    if not isinstance(entries, list):
        raise InvalidRequest(f"skeletons are {type(entries).__name__}; give a list of them")
    return [_skeleton(entry) for entry in entries]


def _skeleton(entry: Any) -> Skeleton:
    joints = entry.get("joints") if isinstance(entry, dict) else None
    if not isinstance(joints, list):
        raise InvalidRequest(f"a skeleton is {str(entry)[:60]!r}; it must hold {SHAPE}")
    points = tuple(_point(joint) for joint in joints)
    visibility = entry.get("visibility")
    if visibility is None:
        return Skeleton.of(points)
    if not isinstance(visibility, list) or not all(_is_number(value) for value in visibility):
        raise InvalidRequest(f"visibility is {str(visibility)[:60]}; it must be a list of numbers")
    return Skeleton(points, tuple(float(value) for value in visibility))


def _point(value: Any) -> Point | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(_is_number(v) for v in value):
        return float(value[0]), float(value[1])
    raise InvalidRequest(f"a joint is {str(value)[:60]}; a skeleton must hold {SHAPE}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def limb_width(size: tuple[int, int]) -> int:
    """Compute half a limb's width and a joint's radius: OpenPose's 4 px, less below 512 px."""
    return max(2, min(4, round(4 * min(size) / 512)))


def draw_skeletons(skeletons: Sequence[Skeleton], size: tuple[int, int]) -> Image:
    """Draw skeletons on black, RGB, as ControlNets for poses were trained on.

    A limb is a filled ellipse between its joints in 0.6 of its colour; joints lie on top.
    """
    import cv2
    import numpy as np
    from PIL import Image

    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    half = limb_width(size)
    for skeleton in skeletons:
        # A joint may lie on the very edge, 1.0, which is no pixel.
        points = [
            None
            if (point := skeleton.drawn(i)) is None
            else (point[0] * size[0], point[1] * size[1])
            for i in range(len(JOINTS))
        ]
        for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
            one, other = points[start], points[end]
            if one is None or other is None:
                continue
            middle = (int((one[0] + other[0]) / 2), int((one[1] + other[1]) / 2))
            angle = int(math.degrees(math.atan2(one[1] - other[1], one[0] - other[0])))
            axes = (int(math.dist(one, other) / 2), half)
            outline = np.asarray(cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1))
            cv2.fillConvexPoly(canvas, outline, [int(value * LIMB_SHADE) for value in colour])
        for place, colour in zip(points, COLOURS, strict=True):
            if place is not None:
                cv2.circle(canvas, (int(place[0]), int(place[1])), half, colour, thickness=-1)
    return Image.fromarray(canvas)
