"""Human pose estimation: OpenPose's 18 joints, found by BlazePose."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ModelUnavailable
from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.skeletons import Point, Skeleton, draw_skeletons
from pipelines.preprocessors.weights import Weights, Wheel

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size

WEIGHTS = Weights(
    name="pose",
    files=("pose_detection.tflite", "pose_landmark_full.tflite"),
    licence="Apache-2.0",
    modules=("ai_edge_litert",),
    wheel=Wheel(
        requirement="mediapipe==0.10.21",
        package="mediapipe",
        files={
            "mediapipe/modules/pose_detection/pose_detection.tflite": (
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c"
            ),
            "mediapipe/modules/pose_landmark/pose_landmark_full.tflite": (
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
            ),
        },
        licence="mediapipe-0.10.21.dist-info/LICENSE",
    ),
)
FROM_BLAZEPOSE = (0, None, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
"""The BlazePose landmark of each joint; the neck lies between the shoulders."""
NECK, SHOULDERS = 1, (11, 12)
PEOPLE, VISIBILITY = 4, 0.3


def find_skeletons(
    picture: Image, people: int = PEOPLE, visibility: float = VISIBILITY
) -> list[Skeleton]:
    """Find the people in a picture, the surest first; [] if there are none.

    Args:
        people: at most so many.
        visibility: joints less sure than this are left out, as are those beyond the frame:
            BlazePose makes up hips below it.
    Raises: ModelUnavailable: if the weights or ai-edge-litert are missing.
    """
    import numpy as np

    from pipelines.utils.images import flatten

    pixels = np.asarray(flatten(picture))
    height, width = pixels.shape[:2]
    found = []
    for marks in _blazepose(*WEIGHTS.find()).find(pixels, people):
        rows = [marks[list(SHOULDERS)].mean(0) if k is None else marks[k] for k in FROM_BLAZEPOSE]
        # Both shoulders must be seen for a neck between them.
        rows[NECK][2] = marks[list(SHOULDERS), 2].min()
        points: list[Point | None] = []
        for x, y, seen in rows:
            inside = 0 <= x <= width and 0 <= y <= height and seen >= visibility
            points.append((float(x) / width, float(y) / height) if inside else None)
        sure = (0.0 if p is None else float(row[2]) for p, row in zip(points, rows, strict=True))
        skeleton = Skeleton(tuple(points), tuple(sure))
        if any(point is not None for point in points):
            found.append(skeleton)
    return found


@lru_cache(maxsize=1)
def _blazepose(detector: Path, landmarks: Path) -> Any:
    from pipelines.preprocessors.blazepose import BlazePose

    try:
        return BlazePose(detector, landmarks)
    except (ValueError, RuntimeError) as error:
        raise ModelUnavailable(
            f"{detector.parent} holds no pose weights: {error}; delete it and run "
            "python app.py fetch-annotators pose"
        ) from None


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Draw the skeletons found, at the size of the map."""
    skeletons = find_skeletons(picture, parameters["people"], parameters["visibility"])
    return draw_skeletons(skeletons, size)


PREPROCESSOR = Preprocessor(
    name="pose",
    label="Pose (OpenPose, 18 joints)",
    help="How people stand and move; their joints can be dragged afterwards.",
    detect=detect,
    cost="about 0.1 s a person, 10 MB of weights",
    edited_as="pose",
    source="Bazarevsky et al. 2020, arXiv:2006.10204; drawn as Cao et al. 2019, arXiv:1812.08008",
    sized_by="picture",
    weights=WEIGHTS,
    parameters=(
        Parameter("people", "People", "int", PEOPLE, "At most so many are found.", low=1, high=16),
        Parameter(
            "visibility", "Visibility", "float", VISIBILITY,
            "Joints less sure than this are left out.", low=0.0, high=1.0,
        ),
    ),
)  # fmt: skip
