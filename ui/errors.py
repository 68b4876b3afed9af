"""Error display: turns errors into what the page shows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from pipelines.errors import ContactSheetError

log = logging.getLogger(__name__)

_LONG_QUOTE = re.compile(
    r"""(?P<sign>['"])(?P<head>(?:(?!(?P=sign)).){190})(?:(?!(?P=sign)).)+(?P=sign)""", re.S
)
_LONGEST = 2000
BUG = "Something went wrong inside Contact Sheet; the server's log has the details."


@contextmanager
def shown() -> Iterator[None]:
    """Turn a ContactSheetError raised inside into a `gr.Error` with the same text.

    Anything else is a bug: it goes to the log with its traceback, and the page says so without
    showing the details of the machine.
    """
    try:
        yield
    except ContactSheetError as error:
        raise toast(str(error)) from error
    except gr.Error:
        raise
    except Exception as error:
        log.exception("bug in a handler of the page")
        raise toast(BUG) from error


def with_short_quotes(message: str) -> str:
    """Cut what a message quotes: what a client sent may be a megabyte."""
    cut = _LONG_QUOTE.sub(r"\g<sign>\g<head>…\g<sign>", message)
    return cut if len(cut) <= _LONGEST else f"{cut[:_LONGEST]}…"


def toast(message: str) -> gr.Error:
    """Build the error box in the corner of the page, to be raised. The text is shown as it is."""
    # Gradio renders the message as HTML, and it may quote what a user typed.
    escaped = (
        with_short_quotes(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return gr.Error(escaped, duration=10, print_exception=False)
