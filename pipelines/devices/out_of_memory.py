"""Out-of-memory errors: tells them from others, whichever library or processor raised them."""

from __future__ import annotations

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
