"""What computes beside the studio's worker leaves no threads behind that would slow it."""

from __future__ import annotations

import sys

import pytest

from pipelines.utils.threads import run_in_short_lived_thread
from tests.robustness.test_imports import fresh


def test_results_and_errors_come_through() -> None:
    assert run_in_short_lived_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_in_short_lived_thread(lambda: 1 // 0)


COUNT = """
import os
import time

def count(most=None):
    # A thread ends a moment after Python has seen it end.
    until = time.monotonic() + 10
    found = len(os.listdir("/proc/self/task"))
    while most is not None and found > most and time.monotonic() < until:
        time.sleep(0.02)
        found = len(os.listdir("/proc/self/task"))
    return found
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_its_threads_are_gone_afterwards() -> None:
    """A team that stayed would be one more; that of the main thread does."""
    told = fresh(
        COUNT
        + """
import torch
from pipelines.utils.threads import run_in_short_lived_thread

torch.set_num_threads(2)
work = lambda: torch.ones(512, 512).exp() @ torch.ones(512, 512)
before = count()
run_in_short_lived_thread(work)
after = count(before)
work()
tell(before=before, after=after, stayed=count())
"""
    )
    assert told["after"] == told["before"] < told["stayed"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_scores_maps_and_warming_up_leave_none() -> None:
    told = fresh(
        COUNT
        + """
import torch
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image
from pipelines import Studio, preprocessors
from pipelines.analysis.clip_score import find_scorer

torch.set_num_threads(2)
pictures = [Image.effect_noise((256, 256), 90).convert("RGB") for _ in range(4)]
scorer = find_scorer([Path("models")])
jobs = {
    "score": lambda: scorer.adherence(pictures, "a red apple"),
    "warm": lambda: Studio("models", device="cpu").warm_up("emoji"),
    "map": lambda: preprocessors.run("softedge", pictures.pop(), {}, (256, 256)),
}
left = {}
for name, job in jobs.items():
    job()  # libraries start threads of their own
    with ThreadPoolExecutor(1) as lasting:
        lasting.submit(int).result()
        time.sleep(1)  # some of theirs end
        before = count()
        lasting.submit(job).result()
        left[name] = count(before) - before
tell(left=left)
"""
    )
    assert max(told["left"].values()) <= 0, told["left"]
