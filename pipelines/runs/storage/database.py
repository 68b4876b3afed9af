"""Database: one SQLite file that many threads and processes use, and that may come to harm.

What another process has locked is waited for; a file that was deleted is made again.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipelines.errors import StorageLocked, StorageUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Told = Callable[[str | None], None]
"""Is told what is waited for, and None when it has come."""

PATIENCE = 120.0
"""Seconds that a database which another process has locked is waited for."""
_MOMENT = 0.2
_SOON = 1.0

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_LOCKED = "another process has locked the database {}"


class Database:
    """Database file with a schema. All methods may be called from any thread.

    Args:
        schema: statements that make what is missing.
    Raises: sqlite3.Error, OSError: if it cannot be opened. StorageUnavailable: if another
        process has it locked for too long.
    """

    def __init__(self, file: Path, schema: str) -> None:
        self.file = file
        self._schema = schema
        self._lock = threading.RLock()
        self._closed = False
        self._db = self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._db.close()

    def read(self, work: Work[T]) -> T:
        """Read. Raises: StorageUnavailable: if that cannot be done now."""
        return self._tried(work, 5.0, None)

    def write(self, work: Work[T], patience: float = PATIENCE, told: Told | None = None) -> T:
        """Write all of it or nothing.

        Args:
            work: may be called again where the database was locked.
            patience: seconds to wait for a locked one.
        Raises: StorageUnavailable: if that cannot be done now.
        """

        def whole(db: sqlite3.Connection) -> T:
            with db:
                return work(db)

        return self._tried(whole, patience, told)

    def _tried(self, work: Work[T], patience: float, told: Told | None) -> T:
        began, said = time.monotonic(), False
        try:
            while True:
                with self.errors(), self._lock:
                    self._check_there()
                    try:
                        return work(self._db)
                    except sqlite3.OperationalError as error:
                        if not _is(error, BUSY):
                            raise
                # Not while the lock is held: others may read what this one waits to write.
                waited = time.monotonic() - began
                if waited >= patience:
                    raise StorageLocked(
                        f"{_LOCKED.format(self.file)} for {waited:.0f} s; close what uses it"
                    )
                if told is not None and waited >= _SOON and not said:
                    told(f"Waiting: {_LOCKED.format(self.file.name)}")
                    said = True
                time.sleep(_MOMENT)
        finally:
            if told is not None and said:
                told(None)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Tell what SQLite and the system say in the words of the field."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(f"{self.file}: {reason(error)}") from None

    def _check_there(self) -> None:
        """Make the file again if it was deleted: what is written into one that is gone is lost."""
        if self._closed:
            raise StorageUnavailable(f"{self.file} is closed")
        try:
            found = self.file.stat()
            if (found.st_dev, found.st_ino) == self._place:
                return
        except FileNotFoundError:
            pass
        with suppress(sqlite3.Error):
            self._db.close()
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        began, said = time.monotonic(), False
        db = sqlite3.connect(self.file, check_same_thread=False, timeout=_MOMENT)
        while True:
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(self._schema)
                break
            except sqlite3.OperationalError as error:
                if not _is(error, BUSY) or time.monotonic() - began > PATIENCE:
                    db.close()
                    raise
            except sqlite3.Error:
                db.close()
                raise
            if time.monotonic() - began > _SOON and not said:
                log.warning("Waiting: %s", _LOCKED.format(self.file))
                said = True
            time.sleep(_MOMENT)
        found = self.file.stat()
        self._place = found.st_dev, found.st_ino
        return db


def reason(error: sqlite3.Error | OSError) -> str:
    """Say in words what keeps something from being written or read."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if _is(error, (sqlite3.SQLITE_FULL,)):
        return "no space left on the disk"
    return str(error)


def finds_no_room(error: sqlite3.Error | OSError) -> bool:
    """Tell whether a disk that is full, or fails, keeps something from being written."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
    return _is(error, (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR))


def _is(error: sqlite3.Error, codes: tuple[int, ...]) -> bool:
    """Whether an error is one of these; extended codes have theirs in the lowest byte."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in codes


def check_sound(file: Path, expected: dict[str, set[str]]) -> None:
    """Check a database that is there: its pages, its tables and their columns.

    Args:
        expected: the columns that each table must have, where there is such a table.
    Raises: sqlite3.DatabaseError: if it is damaged, of another version, or no database at all.
    """
    if not file.exists() or not file.stat().st_size:
        return
    db = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_MOMENT)
    try:
        for (said,) in db.execute("PRAGMA quick_check(1)"):
            if said != "ok":
                raise sqlite3.DatabaseError(said)
        for table, columns in expected.items():
            found = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            if found and not columns <= found:
                missing = ", ".join(sorted(columns - found))
                raise sqlite3.DatabaseError(f"table {table} of another version: no {missing}")
    except sqlite3.OperationalError as error:
        if _is(error, (*BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)):
            return  # sound or not is for later: what opens it says what is wrong
        raise
    finally:
        db.close()
