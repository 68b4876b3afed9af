"""Out-of-memory fallbacks: what gives way, and in which order."""

from __future__ import annotations

from typing import Literal

Work = Literal["rows", "pictures"]
Fallback = Literal["free", "halve", "slice", "tile"]


def fallbacks(work: Work, count: int, exact: bool = False) -> tuple[Fallback, ...]:
    """List what is tried in turn when memory ran out; after the last, the work fails alone.

    Args:
        work: the denoiser's rows, or pictures in the VAE; so many of them.
        exact: rows must go in batches of one size, which halving would change.
    """
    if work == "rows":
        return ("free", "halve") if count > 1 and not exact else ("free",)
    return ("free", "slice", "tile") if count > 1 else ("free", "tile")
