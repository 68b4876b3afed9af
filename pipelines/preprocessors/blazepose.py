"""BlazePose: detects people and their 33 landmarks with two small networks, without mediapipe.

Source: Bazarevsky et al. 2020, arXiv:2006.10204; decoding as in MediaPipe's pose graphs.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from pipelines.utils.native_output import hold_back_stderr

Array = NDArray[np.float32]
DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
LANDMARKS = 33
SCORE_MIN, PRESENCE_MIN, OVERLAP_MAX = 0.5, 0.5, 0.3
GRIDS = ((28, 2), (14, 2), (7, 6))
"""Cells along a side and anchors a cell, for each scale of the detector."""
ROOM = 1.25
"""How much larger than the person the part that is looked at is."""
HEAT_WINDOW, HEAT_MIN = 7, 0.5


class Region(NamedTuple):
    """Region of interest: a rotated square, with centre and side in pixels and angle in radians."""

    x: float
    y: float
    side: float
    turn: float


class Network:
    """TensorFlow Lite network on the CPU; not for several threads at once."""

    def __init__(self, path: Path) -> None:
        with hold_back_stderr():  # it says by what it computes
            self._net: Any = Interpreter(model_path=str(path), num_threads=2)
            self._net.allocate_tensors()

    def __call__(self, pixels: Array) -> list[Array]:
        """The outputs, in the network's order, for one picture (side, side, 3)."""
        self._net.set_tensor(self._net.get_input_details()[0]["index"], pixels[None])
        self._net.invoke()
        return [self._net.get_tensor(out["index"])[0] for out in self._net.get_output_details()]


class BlazePose:
    """BlazePose detector and landmark network, as one model.

    Args:
        detector: pose_detection.tflite.
        landmarks: pose_landmark_full.tflite.
    """

    def __init__(self, detector: Path, landmarks: Path) -> None:
        self._detector, self._landmarks = Network(detector), Network(landmarks)
        self._lock = threading.Lock()

    def find(self, picture: NDArray[np.uint8], people: int) -> list[Array]:
        """Detect the landmarks of the people in a picture, the surest first.

        Args:
            picture: (H, W, 3), RGB.
            people: at most so many.
        Returns: for each, (33, 3): x and y in pixels, and how sure it is seen, 0..1.
        """
        with self._lock:
            regions = self._regions(picture)[:people]
            found = [self._person(picture, region) for region in regions]
        return [points for points in found if points is not None]

    def _person(self, picture: NDArray[np.uint8], region: Region) -> Array | None:
        """The landmarks of the person in a region; None if there is none."""
        points: Array | None = None
        # The detector's region is rough; what is found in it frames the person better.
        for _ in range(2):
            presence, points, region = self._look(picture, region)
            if presence < PRESENCE_MIN:
                return None
        return points

    def _regions(self, picture: NDArray[np.uint8]) -> list[Region]:
        """Where people may be, the surest first."""
        height, width = picture.shape[:2]
        side = float(max(height, width))
        whole = Region(width / 2, height / 2, side, 0.0)
        raw, scores = self._detector(_cut(picture, whole, DETECTOR_SIDE) * 2 - 1)
        sure = _sigmoid(scores[:, 0])
        kept = sure >= SCORE_MIN
        values = (raw[kept] / DETECTOR_SIDE).reshape(-1, 6, 2)
        anchors = _anchors()[kept]
        middles, sizes, keys = (
            values[:, 0] + anchors,
            values[:, 1],
            values[:, 2:] + anchors[:, None],
        )
        boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)
        corner = np.asarray([whole.x - side / 2, whole.y - side / 2])
        regions = []
        for i in _apart(boxes, sure[kept]):
            hips, end = keys[i, 0] * side + corner, keys[i, 1] * side + corner
            regions.append(_around(hips, end))
        return regions

    def _look(self, picture: NDArray[np.uint8], region: Region) -> tuple[float, Array, Region]:
        """How sure a person is there, its landmarks, and the region that frames it."""
        outputs = self._landmarks(_cut(picture, region, LANDMARK_SIDE))
        points, presence, _, heat, _ = outputs
        points = _refine(points.reshape(-1, 5).copy(), heat)
        place = points[:, :2] / LANDMARK_SIDE - 0.5
        cosine, sine = np.cos(region.turn), np.sin(region.turn)
        turned = place @ np.asarray([[cosine, sine], [-sine, cosine]], np.float32)
        at = turned * region.side + np.asarray([region.x, region.y])
        seen = _sigmoid(points[:, 3:4])
        # Behind the 33 stand two that say where the person is and how it is turned.
        frame = _around(at[LANDMARKS], at[LANDMARKS + 1])
        found = np.concatenate([at, seen], axis=1)[:LANDMARKS].astype(np.float32)
        return float(presence[0]), found, frame


def _sigmoid(values: Array) -> Array:
    """1 / (1 + e^−v), without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2), np.float32)


@cache
def _anchors() -> Array:
    """Middles of the detector's cells, as many times as it has anchors there, (2254, 2)."""
    rows = []
    for cells, count in GRIDS:
        middles = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(rows).astype(np.float32)


def _around(middle: NDArray[Any], end: NDArray[Any]) -> Region:
    """The square around a person, from the middle of the hips to a point at the body's end."""
    dx, dy = (float(v) for v in end - middle)
    side = 2 * float(np.hypot(dx, dy)) * ROOM
    turn = np.pi / 2 - float(np.arctan2(-dy, dx))
    return Region(float(middle[0]), float(middle[1]), max(side, 1.0), turn)


def _cut(picture: NDArray[np.uint8], region: Region, side: int) -> Array:
    """The region upright, (side, side, 3), 0..1; black beyond the picture."""
    half = region.side / 2
    across = half * np.asarray([np.cos(region.turn), np.sin(region.turn)])
    down = half * np.asarray([-np.sin(region.turn), np.cos(region.turn)])
    middle = np.asarray([region.x, region.y])
    corners = np.stack([middle - across - down, middle + across - down, middle - across + down])
    target = np.asarray([[0, 0], [side, 0], [0, side]], np.float32)
    # Corners are edges of pixels; warpAffine counts from their middles.
    warp = cv2.getAffineTransform(corners.astype(np.float32) - 0.5, target - 0.5)
    shrink = region.side / side
    if shrink > 2:
        # Bilinear reading skips pixels when the picture is far larger than what is read.
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), shrink / 3), np.uint8)
    cut = cv2.warpAffine(picture, warp, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(cut / np.float32(255), np.float32)


def _apart(boxes: Array, scores: Array) -> list[int]:
    """The surest boxes of those that overlap (non-maximum suppression), the surest first."""
    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(_overlap(boxes[i], boxes[j]) <= OVERLAP_MAX for j in kept):
            kept.append(int(i))
    return kept


def _overlap(one: Array, other: Array) -> float:
    """Intersection over union of two boxes (left, upper, right, lower)."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return shared / max(areas - shared, 1e-9)


def _refine(points: Array, heat: Array) -> Array:
    """Landmarks moved to the middle of their heat, where the heat is sure.

    Args:
        points: (39, 5), x and y in pixels of the landmark network's input.
        heat: (64, 64, 39), before the sigmoid.
    """
    cells = heat.shape[0]
    reach = HEAT_WINDOW // 2
    for k, (x, y) in enumerate(points[:, :2] * cells / LANDMARK_SIDE):
        column, row = int(x), int(y)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        left, upper = max(0, column - reach), max(0, row - reach)
        window = heat[upper : row + reach + 1, left : column + reach + 1, k]
        warmth = _sigmoid(window)
        if warmth.max() < HEAT_MIN:
            continue
        rows, columns = np.indices(warmth.shape)
        total = float(warmth.sum())
        points[k, 0] = (float((columns * warmth).sum()) / total + left) * LANDMARK_SIDE / cells
        points[k, 1] = (float((rows * warmth).sum()) / total + upper) * LANDMARK_SIDE / cells
    return points
