"""Checked Blocks: checks what a client sends to each handler, by the type of each component.

Every handler of the page can be called over HTTP, with any JSON in place of what the page sends.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block
from gradio.exceptions import ComponentProcessingError
from pydantic import ValidationError

from pipelines import ContactSheetError, InvalidRequest
from pipelines.errors import shortened, with_short_quotes
from ui.errors import BUG, toast

log = logging.getLogger(__name__)

TEXT_MAX = 100_000
"""Characters of a text box. Templates may be long; what each field takes, its own reader says."""
_WHOLE_MAX = 2**63
_QUOTED = 60
_PATH_MAX = 1000

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


_KINDS: Mapping[type[Block], tuple[Check, str]] = {
    gr.Textbox: (_is_text, "a text"),
    gr.Number: (_or_none(_is_number), "a number"),
    gr.Checkbox: (lambda value: isinstance(value, bool), "true or false"),
    gr.Radio: (_is_text, "a text"),
    gr.Dropdown: (_is_text, "a text"),
    gr.JSON: (lambda value: value is None or isinstance(value, dict | list), "an object or a list"),
    gr.Image: (lambda value: value is None or isinstance(value, dict), "a file that was uploaded"),
    gr.Dataset: (_is_place, "a place in a list"),
}
"""What a component's value may be, and how that is called."""


class CheckedBlocks(gr.Blocks):
    """Blocks whose handlers get only values that their components can have.

    Whatever is wrong ends in a `gr.Error` that names the field; anything else is a bug.
    """

    async def process_api(
        self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Handle a call of the page or of a program. Raises: gr.Error."""
        try:
            handler = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
            if handler.fn is None:
                raise InvalidRequest("this event is the page's own; nothing here handles it")
            check_inputs(handler.inputs, inputs)
            event = options.get("event_data")
            check_content("event_data", None if event is None else event._data)
            return await super().process_api(block_fn, inputs, *args, **options)
        except gr.Error as error:
            error.message = with_short_quotes(str(error.message))
            raise
        except ContactSheetError as error:
            raise toast(str(error)) from None
        except ComponentProcessingError:
            raise toast("a value is none that its field offers; reload this page") from None
        except ValidationError:
            raise toast("a file is none that was uploaded; upload it again") from None
        except Exception as error:
            log.exception("bug in a handler of the page")
            raise toast(BUG) from error


def check_inputs(components: Sequence[Block], values: Sequence[Any]) -> None:
    """Check the values for a handler's inputs. Raises: InvalidRequest: naming the first bad one."""
    if len(values) != len(components):
        raise InvalidRequest(f"{len(values)} values came; this event takes {len(components)}")
    for place, (component, value) in enumerate(zip(components, values, strict=True), 1):
        check_value(component, value, _name(component, place))


def check_value(component: Block, value: Any, name: str) -> None:
    """Check a component's value. Raises: InvalidRequest."""
    check, what = _kind(component)
    check_content(name, value)
    if not check(value):
        raise InvalidRequest(f"{name} is {shortened(repr(value), _QUOTED)}; it must be {what}")
    if isinstance(component, gr.Dataset) and component.type == "index":
        count = len(component.samples or ())
        if value >= count:
            raise InvalidRequest(f"{name} is {value}; there are {count}, counted from 0")
    if isinstance(component, gr.Textbox) and len(value) > TEXT_MAX:
        raise InvalidRequest(f"{name} has {len(value):,} characters; at most {TEXT_MAX:,} work")


def check_content(name: str, value: Any) -> None:
    """Check all texts and whole numbers in a value, at any depth.

    Raises: InvalidRequest: for what no text box and no number field can hold.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest(f"{name} holds a NUL character; type it again")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidRequest(
                    f"{name} holds half a character (a lone surrogate); type it again"
                ) from None
    elif isinstance(value, int) and abs(value) > _WHOLE_MAX:
        raise InvalidRequest(f"{name} holds a number of more than 18 digits")
    elif isinstance(value, Mapping):
        path = value.get("path")
        if isinstance(path, str) and len(path) > _PATH_MAX:
            raise InvalidRequest(f"{name} names a file by {len(path):,} characters")
        for key, item in value.items():
            check_content(name, key)
            check_content(name, item)
    elif isinstance(value, list | tuple):
        for item in value:
            check_content(name, item)


def _kind(component: Block) -> tuple[Check, str]:
    if isinstance(component, gr.Dropdown) and component.multiselect:
        return _or_none(_are_texts), "a list of texts"
    if isinstance(component, gr.Dropdown) and component.value is None:
        return _or_none(_is_text), "a text"
    if isinstance(component, gr.HTML) and isinstance(component.value, str):
        return _or_none(_is_text), "a text"
    return next(
        (kind for cls, kind in _KINDS.items() if isinstance(component, cls)),
        (lambda value: True, "anything"),
    )


def _name(component: Block, place: int) -> str:
    label = getattr(component, "label", None)
    return str(label or component.elem_id or f"value {place}")
