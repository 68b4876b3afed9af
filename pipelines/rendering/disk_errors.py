"""Disk errors: tells a disk that takes nothing more from one file that cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

PROBE_BYTES = 256 * 1024
"""About a small picture; a disk that is full for pictures often has room for a line of text."""

_NAMES = ("ENOSPC", "EDQUOT", "EROFS", "EFBIG")
_FULL = tuple(getattr(errno, name) for name in _NAMES if hasattr(errno, name))


def is_disk_full(folder: Path, size: int = PROBE_BYTES) -> bool:
    """Try whether a folder's disk takes a file of a picture's size, and delete it again.

    Args:
        size: bytes of a picture; at least PROBE_BYTES are tried.
    Returns: True where there is no room, the quota is used up, or the disk may only be read.
    """
    try:
        with suppress(FileNotFoundError), tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(max(size, PROBE_BYTES)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in _FULL
    return False
