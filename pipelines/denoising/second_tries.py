"""Second tries: begins cells again that ran out of memory outside the denoiser's batches."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.errors import OutOfMemory

log = logging.getLogger(__name__)


class SecondTries:
    """Second tries of cells, one each.

    Args:
        free_memory: frees what is not in use; whether that was anything.
    """

    def __init__(self, free_memory: Callable[[], bool]) -> None:
        self._free_memory = free_memory
        self._tried: set[int] = set()

    def worth(self, cell: int, error: Exception) -> bool:
        """Free memory for a second try, if that is what failed the first.

        A scheduler's state is half changed then, so the cell starts from its beginning.
        """
        if cell in self._tried or not is_out_of_memory(error):
            return False
        self._tried.add(cell)
        error.with_traceback(None)  # it keeps what did not fit
        log.warning("out of memory in cell %d; it is begun again", cell)
        self._free_memory()
        return True


def in_our_words(error: Exception) -> Exception:
    """Tell that memory ran out in the words of the field; other errors are as they were."""
    if not is_out_of_memory(error):
        return error
    return OutOfMemory(f"it does not fit in memory: {error}")
