"""Schedules by the clock: learning rate, decay of the moving average, and the time spent."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run: all that decides it apart from the machine's speed.

    Args:
        batch: rows a step, of all workers together.
        warmup: the share of the run in which the learning rate rises.
        minutes: how long it trains, over all resumed runs together.
        log_steps: steps from one line of the log to the next.
    """

    batch: int = 64
    warmup: float = 0.05
    seed: int = 0
    minutes: float = 10.0
    checkpoint_minutes: float = 2.0
    log_steps: int = 50


def cosine(progress: float, warmup: float, final: float = 0.01) -> float:
    """The share of the peak learning rate at a share `progress` of the run.

    Linear warm-up to 1, then a cosine down to `final`.

    Args:
        progress: 0..1, the share of the time that is spent.
        warmup: the share that is warm-up.
    """
    if progress < warmup:
        return progress / warmup
    phase = min(1.0, (progress - warmup) / (1 - warmup))
    return final + 0.5 * (1 - final) * (1 + math.cos(math.pi * phase))


def ema_decay(step: int, power: float) -> float:
    """The decay of an average over the last ~1/power of the run, however long it is.

    Math: β_t = (1 − 1/t)^(power + 1)
    Source: Karras et al. 2024, Eq. 127, arXiv:2312.02696.
    """
    return float((1 - 1 / max(step, 2)) ** (power + 1))


class Clock:
    """Seconds of training spent of the minutes given, over all resumed runs together.

    A gap between two looks counts for at most `LONGEST_STEP`: a process that was suspended for a
    while has not trained. With `time.process_time` as `now` only the process's own work counts.
    """

    LONGEST_STEP = 30.0

    def __init__(
        self, minutes: float, spent: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._budget, self._spent, self._seen = minutes * 60, spent, now()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        now = self._now()
        self._spent += min(now - self._seen, self.LONGEST_STEP)
        self._seen = now
        return self._spent

    @property
    def progress(self) -> float:
        """The share of the time that is spent, at most 1."""
        return min(1.0, self.spent / self._budget)
