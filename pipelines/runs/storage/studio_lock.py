"""Studio lock: tells which studios work on an outputs folder now, whatever process they are in.

Every studio holds a lock on a file of its own, which the system lets go when its process ends,
however it does: no process number that another may have by now, and no clock is asked.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PREFIX = "contact-sheet.sqlite.studio-"


class StudioLock:
    """Lock of one studio on an outputs folder, held until `release`.

    Attributes:
        name: unique among all studios that ever were.
    """

    def __init__(self, outputs: Path) -> None:
        self.name = uuid.uuid4().hex
        self._folder = outputs
        self._file: int | None = None
        self.hold()

    def hold(self) -> None:
        """Take the lock, also again after its file was deleted.

        Raises: OSError: if the folder cannot be written.
        """
        path = self._path(self.name)
        if self._file is not None and _is_at(self._file, path):
            return
        self._close()
        while self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            _lock(file, wait=True)
            # Another studio that looked just then may have taken it for one that is left over.
            if _is_at(file, path):
                self._file = file
            else:
                os.close(file)

    def release(self) -> None:
        """Let go: what is not finished counts as cut off from now on."""
        if self._file is not None:
            with suppress(OSError):
                self._path(self.name).unlink()
        self._close()

    def is_alive(self, name: str) -> bool:
        """Tell whether a studio of this name still works here."""
        if name == self.name:
            return self._file is not None
        with suppress(OSError):
            return not _is_free(self._path(name))
        return False

    def others(self) -> Iterator[float]:
        """Yield when each other studio that works here began; files that are left over go."""
        with suppress(OSError):
            for path in sorted(self._folder.glob(f"{PREFIX}*")):
                if path == self._path(self.name):
                    continue
                with suppress(OSError):
                    began = path.stat().st_mtime
                    if _is_free(path):
                        path.unlink()
                    else:
                        yield began

    def _path(self, name: str) -> Path:
        return self._folder / f"{PREFIX}{Path(name).name}"

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock on a file. Raises: OSError: if it is not there."""
    file = os.open(path, os.O_RDWR)
    try:
        return _lock(file, wait=False)
    finally:
        os.close(file)


def _lock(file: int, *, wait: bool) -> bool:
    """Lock a file. Returns: whether that was possible.

    A file system that knows no locks says so for every file; then nobody is seen, as if each
    studio were alone.
    """
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(file, wait=wait)
    # Who only looks takes a shared lock, so that two who look do not see each other.
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_SH | fcntl.LOCK_NB
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _lock_on_windows(file: int, *, wait: bool) -> bool:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    try:
        msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except OSError:
        return wait
    return True
