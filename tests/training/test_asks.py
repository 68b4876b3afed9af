"""Asks for evaluation: what their captions say, and that the new pairs are new."""

import pytest

from tests.training.composed_bank import small_bank
from training.data.asks import KINDS, Asker
from training.data.holdout import held_out, held_out_colour

BANK = small_bank()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_asks(kind: str) -> None:
    asks = Asker(BANK, 3).asks(kind, 20)
    assert asks == Asker(BANK, 3).asks(kind, 20)
    assert asks != Asker(BANK, 4).asks(kind, 20)
    assert {ask.kind for ask in asks} == {kind}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        Asker(BANK).asks("mood", 1)


@pytest.mark.parametrize("kept", [False, True])
def test_new_pairs_are_those_that_training_never_has(kept: bool) -> None:
    new = "new " if kept else ""
    for ask in Asker(BANK).asks(f"{new}pair", 50):
        assert held_out("concept", *ask.labels) == kept
        assert " and " in ask.caption
    for ask in Asker(BANK).asks(f"{new}setting", 50):
        assert held_out("setting", ask.labels[0], ask.wanted) == kept
    for ask in Asker(BANK).asks(f"{new}colour", 50):
        natural = BANK.natural[ask.labels[0]]
        assert ask.wanted not in natural
        assert held_out_colour(ask.labels[0], ask.wanted, natural) == kept
        assert ask.wanted in ask.caption


def test_numbers_and_positions_are_said() -> None:
    words = {"1": ("a ", "an "), "2": ("two ",), "3": ("three ",), "4": ("four ",)}
    asks = Asker(BANK).asks("count", 60)
    assert {ask.wanted for ask in asks} == set(words)
    assert all(ask.caption.startswith(words[ask.wanted]) for ask in asks)
    assert not any("glasses" in ask.caption for ask in asks)
    sides = Asker(BANK).asks("position", 60)
    assert {ask.wanted for ask in sides} == {"left", "right", "top", "bottom", "centre"}
    said = {"centre": "middle"}
    assert all(said.get(ask.wanted, ask.wanted) in ask.caption for ask in sides)
