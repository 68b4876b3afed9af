"""Who is next in line: few loads, and nobody waits for ever."""

from __future__ import annotations

import threading
from functools import partial
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines import Request, Sheet, Studio
from pipelines.runs.events import CellDone
from pipelines.runs.queue import MAX_OVERTAKES, LoadSet, QueueEntry, RunQueue, choose, take
from tests.helpers.gates import loads_wait, room_for_one


def places(names):
    return tuple(QueueEntry(number, (LoadSet(name),)) for number, name in enumerate(names))


def is_in(inside, use):
    return use.model in inside


def serve(line, inside=()):
    """Names in the order in which they are served where one model fits, and the loads."""
    served, loads = [], 0
    while line:
        place, line = take(line, partial(is_in, inside))
        loads += place.uses[0].model not in inside
        inside = (place.uses[0].model,)
        served.append(place)
    return served, loads


def test_loads_are_shared():
    served, loads = serve(places("ABABAB"))
    assert [place.uses[0].model for place in served] == list("AAABBB") and loads == 2


def test_nothing_is_gained_by_going_round_a_load():
    assert choose(places("ABC"), lambda use: use.model == "D") == 0
    assert choose(places("ABC"), lambda use: use.model == "C") == 2
    both = (QueueEntry(0, (LoadSet("A"),)), QueueEntry(1, (LoadSet("B"), LoadSet("A"))))
    assert choose(both, lambda use: use.model == "B") == 0, "it needs A too"


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=30))
def test_nobody_is_overtaken_too_often(names):
    served, loads = serve(places(names))
    order = [place.item for place in served]
    assert sorted(order) == list(range(len(names)))
    for place in served:
        earlier = order[: order.index(place.item)]
        assert sum(other > place.item for other in earlier) == place.passed <= MAX_OVERTAKES
    assert loads <= 1 + sum(a != b for a, b in pairwise(names))


def test_the_other_model_is_served_while_new_runs_of_the_first_keep_coming():
    line = (QueueEntry(0, (LoadSet("B"),)),)
    for number in range(1, 50):
        line = (*line, QueueEntry(number, (LoadSet("A"),)))
        place, line = take(line, lambda use: use.model == "A")
        if place.item == 0:
            break
    assert number == MAX_OVERTAKES + 1


def test_a_line_between_threads_ends():
    line: RunQueue[int] = RunQueue()
    got = []

    def work():
        while (place := line.next(lambda use: True)) is not None:
            got.append(place.item)

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(100):
        line.join(number)
    line.close()
    worker.join(10)
    assert not worker.is_alive() and got == list(range(100))


def test_a_studio_loads_each_model_once_for_runs_that_take_turns(models, one_thread):
    studio = Studio(models, device="cpu", budget=room_for_one(models, "tiny", "tinyv"))
    with loads_wait():  # the worker waits with the first while the others join
        runs = [
            studio.submit(Sheet(base=Request(prompt="x", model=name, steps=1, seed=seed)))
            for seed, name in enumerate(("tiny", "tinyv", "tiny", "tinyv", "tiny", "tinyv"))
        ]
    for run in runs:
        assert any(isinstance(event, CellDone) for event in run.events())
    loads = [one.model for one in studio.manager.history if any(one.loaded.values())]
    assert loads == ["tiny", "tinyv"]
    studio.close()
