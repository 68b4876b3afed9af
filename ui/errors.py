"""Error display: turns errors into what the page shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from pipelines.errors import ContactSheetError, with_short_quotes

log = logging.getLogger(__name__)

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


def toast(message: str) -> gr.Error:
    """Build the error box in the corner of the page, to be raised. The text is shown as it is."""
    # Gradio renders the message as HTML, and it may quote what a user typed.
    escaped = (
        with_short_quotes(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return gr.Error(escaped, duration=10, print_exception=False)
