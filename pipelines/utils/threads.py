"""Short-lived threads: run torch work in a thread that ends with it, so that none lingers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def run_in_short_lived_thread(work: Callable[[], Made]) -> Made:
    """Run torch work in a thread that ends with it; returns or raises what the work does.

    Every thread that once computed with torch keeps a team of OpenMP threads until it ends. While
    all teams together have more threads than there are cores, GNU's OpenMP lets them sleep instead
    of spin between the many short loops of a network, and a batch takes up to twice as long, for
    whoever computes. So only the studio's worker may have a team that lasts.
    Source: GCC's libgomp, `gomp_throttled_spin_count_var` in env.c and wait.h.
    """
    with ThreadPoolExecutor(1, "in-passing") as thread:
        return thread.submit(work).result()
