"""Native output: holds back what compiled libraries write to stderr past Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

QUIET = "TF_CPP_MIN_LOG_LEVEL"
"""Variable by which TensorFlow's libraries are told how quiet to be: from 1 on, no information."""


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Hold back what is written to stderr while the block runs, where `QUIET` asks for it.

    For calls that write a line whatever they are told. What other threads write meanwhile is held
    back too, so the block should be short; where it raises, all that was held back is written.
    """
    if not os.environ.get(QUIET, "0").isdecimal() or int(os.environ.get(QUIET, "0")) < 1:
        yield
        return
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException:
                os.dup2(kept, 2)
                held.seek(0)
                with suppress(OSError):
                    os.write(2, held.read())
                raise
            finally:
                os.dup2(kept, 2)
    finally:
        os.close(kept)
