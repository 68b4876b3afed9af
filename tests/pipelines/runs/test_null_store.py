"""A store that keeps nothing has all that a store has."""

from __future__ import annotations

import inspect

from pipelines import Request, Sheet
from pipelines.runs.events import Stats
from pipelines.runs.null_store import NullStore
from pipelines.runs.store import Store


def test_what_goes_in_is_gone() -> None:
    store, request = NullStore(), Request()
    store.begin("a", Sheet(base=request), [request])
    store.cell_done("a", 0, address="0" * 32, seconds=1.0, cached=False)
    store.end("a", "done", Stats(), None)
    store.pick_winner("a", 0)
    assert store.recent(5) == [] and store.restore("a") is None and store.folder is None
    assert not store.has("0" * 32) and store.picture("0" * 32) is None
    store.close()


def test_it_is_called_as_a_store_is() -> None:
    """Every method of it is one of a store, with the same arguments."""
    for name, method in inspect.getmembers(NullStore, inspect.isfunction):
        known = inspect.signature(getattr(Store, name))
        assert list(inspect.signature(method).parameters) == list(known.parameters), name
