"""Scores of how far a picture follows its map: edges, joints, overlap, rank correlation."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

EDGE_TOLERANCE = 1.5
"""Pixels: an edge next to where it was asked, diagonally too, is there."""
JOINT_TOLERANCE = 6.0
"""Pixels of 128."""
LINE = 128


def edge_f1(found: NDArray[np.uint8], asked: NDArray[np.uint8]) -> float:
    """F1 score of two drawings of edges, 0..1; 1 if neither has any.

    Math: F1 = 2·P·R / (P + R); P the share of found edge pixels within `EDGE_TOLERANCE` of an
    asked one, R the share of asked ones within it of a found one.
    Args:
        found, asked: (H, W) or (H, W, 3), edges white on black.
    """
    ours, theirs = (_lines(one) for one in (found, asked))
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = float((_distance(theirs)[ours] <= EDGE_TOLERANCE).mean())
    recall = float((_distance(ours)[theirs] <= EDGE_TOLERANCE).mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def lines_found(found: NDArray[np.uint8], asked: NDArray[np.uint8]) -> float:
    """The share of asked edge pixels within `EDGE_TOLERANCE` of a found one; 1 if none is asked."""
    ours, theirs = (_lines(one) for one in (found, asked))
    if not ours.any() or not theirs.any():
        return float(not theirs.any())
    return float((_distance(ours)[theirs] <= EDGE_TOLERANCE).mean())


def _lines(edges: NDArray[np.uint8]) -> NDArray[np.bool_]:
    grey = edges if edges.ndim == 2 else edges.max(2)
    return np.asarray(grey >= LINE, np.bool_)


def _distance(lines: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance from every pixel to the nearest line."""
    away = np.where(lines, 0, 1).astype(np.uint8)
    exact = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(exact, np.float32)


def joints_near(found: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Check each asked joint for one within `JOINT_TOLERANCE`; nan for those not asked.

    Args:
        found: (N, 18, 2) x, y in pixels.
        asked: (N, 18, 3) x, y and visibility, as `figures` gives them; hidden ones are not asked.
    Returns: (N, 18), 1, 0 or nan.
    """
    apart = np.linalg.norm(found - asked[..., :2], axis=2)
    near = np.where(apart <= JOINT_TOLERANCE, 1.0, 0.0)
    return np.where(asked[..., 2] > 0, near, np.nan).astype(np.float32)


def rank_correlation(
    found: NDArray[Any], asked: NDArray[Any], where: NDArray[np.bool_] | None = None
) -> float:
    """Spearman's rank correlation over all pixels or those in a mask; 0 where one is constant."""
    ours, theirs = (one.ravel() if where is None else one[where] for one in (found, asked))
    if len(ours) < 2 or ours.min() == ours.max() or theirs.min() == theirs.max():
        return 0.0
    return float(spearmanr(ours, theirs).statistic)


def overlaps(
    found: NDArray[np.uint8], asked: NDArray[np.uint8], classes: int
) -> NDArray[np.float64]:
    """The overlap of each class, over all pictures together; nan for one that never occurs.

    Math: IoU_c = Σ|found = c ∧ asked = c| / Σ|found = c ∨ asked = c|
    Args:
        found, asked: (N, H, W), a class a pixel.
    """
    pairs = asked.astype(np.int64).ravel() * classes + found.ravel()
    table = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    both = np.diag(table).astype(float)
    either = table.sum(0) + table.sum(1) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)
