"""Out-of-memory errors: tells them from others, whoever raised them, and lets go what they keep."""

from __future__ import annotations

import logging

from pipelines.errors import ContactSheetError

MORE = 1.1
"""So many times the free memory is worth another try of what did not fit."""
_MARKS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "_status_alloc_failed",
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out.

    On a GPU torch raises its own class; in main memory it raises a plain RuntimeError, NumPy and
    Pillow a MemoryError, and cuBLAS and cuDNN only name a status.
    """
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError | OSError):
        return False
    said = str(error).lower()
    return any(mark in said for mark in _MARKS)


def without_frames(error: Exception) -> Exception:
    """Drop the tracebacks of an error and of those behind it: their frames keep tensors alive."""
    behind: BaseException | None = error
    seen: set[int] = set()
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        behind.__traceback__ = None
        behind = behind.__cause__ or behind.__context__
    return error


def log_surprise(log: logging.Logger, error: Exception, what: str, *values: object) -> None:
    """Log an error with its traceback, or in one line if memory ran out; our own are no surprise.

    A traceback in a log record keeps what did not fit for as long as some handler has the record.
    """
    if isinstance(error, ContactSheetError):
        return
    if is_out_of_memory(error):
        log.warning(f"{what}: %s", *values, error)
    else:
        log.error(what, *values, exc_info=error)
