"""Who has the device next: small runs do not wait for large ones, and large ones go on."""

from __future__ import annotations

from pipelines.rendering.timings.time_shares import CREDIT, HEADSTART, TimeShares


def test_a_newcomer_need_not_wait_for_a_long_run() -> None:
    shares = TimeShares()
    shares.begin()
    assert not shares.gives_way(0, 10.0, newcomer=False), "nobody waits"
    assert not shares.gives_way(0, HEADSTART - 0.1, newcomer=True), "it has only just begun"
    assert shares.gives_way(0, HEADSTART + 0.1, newcomer=True)
    shares.spend(0, 10.0)
    shares.begin()
    assert shares.next() == 1
    assert not shares.gives_way(1, 1.0, newcomer=False)
    shares.spend(1, 1.0)
    shares.end(1)
    assert shares.next() == 0


def test_equal_runs_go_in_the_order_in_which_they_came() -> None:
    shares = TimeShares()
    for _ in range(3):
        shares.begin()
    assert shares.next() == 0 and not shares.gives_way(0, 0.7, newcomer=True)


def test_no_stream_of_small_runs_stops_the_oldest() -> None:
    """Each newcomer takes one second, and another is always there."""
    shares, had = TimeShares(), 0.0
    shares.begin()
    shares.spend(0, 100.0)
    for _ in range(200):
        shares.begin()
        place = shares.next()
        shares.spend(place, 1.0)
        had += place == 0
        if place:
            shares.end(place)
        else:
            shares.end(1)  # what waits is the same one, come again
    assert 90 <= had <= 110, "half of the time"


def test_whoever_is_oldest_next_owes_and_is_owed_nothing() -> None:
    shares = TimeShares()
    for _ in range(3):
        shares.begin()
    shares.spend(0, 100.0)
    shares.spend(1, CREDIT)
    assert shares.next() == 0, "it is paid back"
    shares.end(0)
    assert shares.next() == 1, "what the first was owed is not paid to the second"


def test_a_later_run_ends_its_turn_when_the_oldest_is_owed_enough() -> None:
    shares = TimeShares()
    shares.begin()
    shares.spend(0, 100.0)
    shares.begin()
    assert not shares.gives_way(1, CREDIT - 0.1, newcomer=False)
    assert shares.gives_way(1, CREDIT + 0.1, newcomer=False)


def test_the_oldest_keeps_the_device_until_it_is_paid_back() -> None:
    shares = TimeShares()
    shares.begin()
    shares.spend(0, 100.0)
    shares.begin()
    shares.spend(1, CREDIT)
    assert shares.next() == 0
    assert not shares.gives_way(0, CREDIT - 0.1, newcomer=True)
    assert shares.gives_way(0, CREDIT + 0.1, newcomer=True)


def test_two_long_runs_take_turns() -> None:
    shares = TimeShares()
    shares.begin()
    shares.begin()
    seconds = [0.0, 0.0]
    for _ in range(100):
        place, spent = shares.next(), 0.0
        while True:
            spent += 0.5
            if shares.gives_way(place, spent, newcomer=False):
                break
            assert spent < 2 * CREDIT + HEADSTART
        shares.spend(place, spent)
        seconds[place] += spent
    assert abs(seconds[0] - seconds[1]) <= 2 * (CREDIT + HEADSTART)
