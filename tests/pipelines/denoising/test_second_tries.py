"""Second tries: memory is freed first, once a cell, and only for want of memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from pipelines.denoising.second_tries import SecondTries


def failed_with(error: Exception) -> tuple[Exception, weakref.ref[np.ndarray]]:
    """An error as it was caught, and what its traceback keeps."""

    def work() -> weakref.ref[np.ndarray]:
        large = np.zeros(1000)
        kept.append(weakref.ref(large))
        raise error

    kept: list[weakref.ref[np.ndarray]] = []
    try:
        work()
    except Exception as caught:
        return caught, kept[0]
    raise AssertionError


def test_what_did_not_fit_is_let_go_before_memory_is_freed() -> None:
    error, large = failed_with(MemoryError())
    assert large() is not None, "the traceback holds it"
    alive: list[bool] = []

    def free() -> bool:
        gc.collect()
        alive.append(large() is not None)
        return True

    tries = SecondTries(free)
    assert tries.worth(3, error) and alive == [False]
    assert not tries.worth(3, error) and alive == [False], "once a cell"
    assert tries.worth(4, error) and alive == [False, False]


@pytest.mark.parametrize("error", [RuntimeError("shapes"), OSError(5, "I/O"), ValueError("no")])
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    def free() -> bool:
        raise AssertionError("nothing is to be freed")

    assert not SecondTries(free).worth(0, error)
