"""Previews take turns, and no more than their share of the time."""

from __future__ import annotations

import time

from pipelines.rendering.timings.preview_clock import PreviewClock


def test_previews_go_round_all_cells():
    clock = PreviewClock(share=1.0)
    shown = []
    for step in range(12):
        for cell in (0, 1, 2):
            if step == 8 and cell == 1:
                clock.forget(1)
            if (step < 8 or cell != 1) and clock.due(cell):
                shown.append(cell)
    assert shown[:6] == [0, 1, 2, 0, 1, 2], "every cell has its turn"
    assert shown.count(0) == shown.count(2) == 12 and shown.count(1) == 8


def test_previews_keep_to_their_share():
    clock = PreviewClock(share=0.1)
    assert clock.due(0)
    with clock:
        time.sleep(0.02)
    ended = time.perf_counter()
    while not clock.due(0):
        assert time.perf_counter() - ended < 30, "the next preview does not come"
        time.sleep(0.001)
    assert time.perf_counter() - ended > 0.19, "0.02 s of previewing buys 0.2 s without"
