"""Every handler of the page, called with what the page would never send in each place in turn."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from pipelines import Studio
from ui.blocks import TEXT_MAX, CheckedBlocks
from ui.errors import BUG
from ui.page import build

WRONG: tuple[Any, ...] = (
    None, 5, -1, 2.5, float("inf"), float("nan"), True, 10**400, "", "x", "\0", "\ud800",
    "x" * 3000, "y" * (TEXT_MAX + 1), "<b>&", [], [None], ["x", 3], {}, {"a": 1},
    {"\ud800": ["\0"]},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"not_uploaded": True},
    {"image": "x", "preprocessor": 5, "parameters": [], "edited": {}, "skeletons": "x"},
    {"edited": True, "map": 5, "skeletons": [[5]]}, [{"run": {}}],
)  # fmt: skip
EVENTS: tuple[Any, ...] = (
    *WRONG,
    *({"run": one, "cell": 0, "request": one, "values": one, "map": one} for one in WRONG),
    *({"run": "x", "cell": one, "path": one, "values": {"low": one}, "map": one} for one in WRONG),
    {"skeletons": [[[0, 0]]], "map": "data:image/png;base64,AAAA", "id": None},
    {"request": "{}", "values": {}, "run": "", "cell": 10**18},
)  # fmt: skip
SESSIONS: list[SessionState] = []
"""Of the page; to make one takes as long as a hundred calls."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckedBlocks]:
    """The page of a studio without models: handlers do all but load one."""
    folder = tmp_path_factory.mktemp("handlers")
    studio = Studio(folder / "models", folder / "outputs", device="cpu")
    made = build(studio)
    assert isinstance(made, CheckedBlocks)
    SESSIONS.append(SessionState(made))
    yield made
    studio.close()


async def answer(page: CheckedBlocks, fn: BlockFunction, data: list[Any], event: Any) -> str:
    """What a call ends in: the error's text, or "" where there was none."""
    iterator = None
    try:
        while True:
            said = await page.process_api(
                fn, list(data), state=SESSIONS[-1], iterator=iterator,
                event_data=gr.EventData(None, event),
            )  # fmt: skip
            iterator = said["iterator"]
            if not said["is_generating"]:
                return ""
    except gr.Error as error:
        return str(error.message)


def handlers(page: CheckedBlocks) -> list[BlockFunction]:
    found = [
        one for one in page.fns.values() if one.fn is not None and one.api_visibility == "private"
    ]
    assert len(found) > 100
    return found


def starts(fn: BlockFunction) -> list[Any]:
    """What the page sends before anything is touched."""
    return [getattr(one, "value", None) for one in fn.inputs]


def is_good(said: str, sent: Any) -> bool:
    return BUG not in said and len(said) < 1000 and "x" * 250 not in said and "y" * 250 not in said


def kind(fn: BlockFunction, place: int) -> tuple[Any, ...]:
    """What tells one handler's input from another's: the two controls of a tab are alike."""
    component = fn.inputs[place]
    owner = type(getattr(fn.fn, "__self__", None))
    label = str(getattr(component, "label", None) or component.elem_id).replace(" 2", " 1")
    return owner, fn.fn.__qualname__, type(component), label.replace("-2", "-1")


def test_no_value_ends_in_a_bug(page: CheckedBlocks) -> None:
    bad, seen = [], set()

    async def all_of_them() -> None:
        for fn in handlers(page):
            for place in range(len(fn.inputs)):
                if kind(fn, place) in seen:
                    continue
                seen.add(kind(fn, place))
                for wrong in WRONG:
                    data = starts(fn)
                    data[place] = wrong
                    said = await answer(page, fn, data, {})
                    if not is_good(said, wrong):
                        bad.append((*kind(fn, place), wrong, said))

    asyncio.run(all_of_them())
    assert not bad, (len(bad), [str(one)[:250] for one in bad[:40]])


def test_no_event_ends_in_a_bug(page: CheckedBlocks) -> None:
    bad = []

    async def all_of_them() -> None:
        for fn in handlers(page):
            hints = inspect.get_annotations(fn.fn, eval_str=False)
            if not any("Event" in str(one) for one in hints.values()):
                continue
            for event in EVENTS:
                said = await answer(page, fn, starts(fn), event)
                if not is_good(said, event):
                    bad.append((fn.name, event, said))

    asyncio.run(all_of_them())
    assert not bad, (len(bad), [str(one)[:250] for one in bad[:40]])


def test_settings_that_come_back_are_checked(page: CheckedBlocks) -> None:
    bad = []

    async def all_of_them() -> None:
        for fn in handlers(page):
            if fn.name != "_start_confirmed":
                continue
            parts = fn.fn.__self__.form.parts
            kept = {name: part.value for name, part in parts.items()}
            for name in kept:
                for wrong in WRONG:
                    said = await answer(page, fn, [{**kept, name: wrong}], {})
                    if not is_good(said, wrong):
                        bad.append((name, wrong, said))

    asyncio.run(all_of_them())
    assert not bad, (len(bad), [str(one)[:250] for one in bad[:40]])


@pytest.mark.parametrize(
    ("name", "place", "wrong", "message"),
    [
        ("_forecast", "Prompt", None, "Prompt is None; it must be a text"),
        ("_forecast", "Steps", "x", "Steps is 'x'; it must be a number"),
        ("_forecast", "Steps", 10**400, "Steps holds a number of more than 18 digits"),
        ("_forecast", "Prompt", "a\0", "Prompt holds a NUL character"),
        ("_forecast", "Prompt", "\ud800", "Prompt holds half a character"),
        ("_forecast", "Prompt", "x" * 10**6, "Prompt has 1,000,000 characters; at most 100,000"),
        ("_forecast", "LoRAs", "x", "LoRAs is 'x'; it must be a list of texts"),
        ("_stop", "text-to-image-run", [], "text-to-image-run is []; it must be a text"),
        ("_take", "Picture 1", "x", "Picture 1 is 'x'; it must be a file that was uploaded"),
        ("fitting_schedule", "Sampler", "eulr", "unknown sampler 'eulr'; did you mean 'euler'?"),
        ("fill", "Examples", 99, "Examples is 99; there are"),
    ],
)
def test_the_field_is_named(
    page: CheckedBlocks, name: str, place: str, wrong: Any, message: str
) -> None:
    fn = next(one for one in handlers(page) if one.name == name)
    labels = [getattr(one, "label", None) or one.elem_id for one in fn.inputs]
    data = starts(fn)
    data[labels.index(place)] = wrong
    assert message in asyncio.run(answer(page, fn, data, {}))
    assert f"{len(data) + 1} values came" in asyncio.run(answer(page, fn, [*data, 1], {}))
