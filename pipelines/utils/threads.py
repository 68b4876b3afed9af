"""Computing that belongs to no run: in a thread of its own, so that it slows no other one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def in_passing(work: Callable[[], Made]) -> Made:
    """What `work` returns or raises, done in a thread that ends with it.

    Every thread that once computed with torch keeps a team of OpenMP threads until it ends. While
    all teams together have more threads than there are cores, GNU's OpenMP lets them sleep instead
    of spin between the many short loops of a network, and a batch takes up to twice as long, for
    whoever computes. So only the studio's worker may have a team that lasts.
    Source: GCC's libgomp, `gomp_throttled_spin_count_var` in env.c and wait.h.
    """
    with ThreadPoolExecutor(1, "in-passing") as thread:
        return thread.submit(work).result()
