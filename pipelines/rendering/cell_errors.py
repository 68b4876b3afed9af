"""Cell errors: what a failed cell says, and what its error may keep in memory."""

from __future__ import annotations

import logging

from pipelines.errors import ContactSheetError

log = logging.getLogger(__name__)


def noted(error: Exception) -> Exception:
    """The error, in the log where it is none of ours, and without what its traceback keeps."""
    if not isinstance(error, ContactSheetError):
        log.error("a part of a run broke", exc_info=error)
    return error.with_traceback(None)


def explain(error: Exception) -> str:
    """Describe an error as a failed cell shows it: our own as they are, others with their type."""
    if isinstance(error, ContactSheetError):
        return str(error)
    return f"{type(error).__name__}: {error}"
