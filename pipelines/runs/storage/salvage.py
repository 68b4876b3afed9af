"""Salvage: opens the database, or a new one with what can still be read of a damaged one."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.errors import StorageUnavailable
from pipelines.request.sheet import Sheet
from pipelines.runs.events import Stats
from pipelines.runs.storage.database import Database, check_sound
from pipelines.runs.storage.picture_files import PictureFiles

log = logging.getLogger(__name__)

FILE = "contact-sheet.sqlite"

TABLES: Mapping[str, Mapping[str, str]] = {
    "runs": {
        "id": "TEXT PRIMARY KEY", "created": "REAL NOT NULL", "status": "TEXT NOT NULL",
        "sheet": "TEXT NOT NULL", "stats": "TEXT NOT NULL", "error": "TEXT",
    },
    "cells": {
        "run": "TEXT NOT NULL REFERENCES runs (id)", "cell": "INTEGER NOT NULL",
        "request": "TEXT NOT NULL", "address": "TEXT", "seconds": "REAL", "cached": "INTEGER",
        "error": "TEXT",
    },
    "winners": {"run": "TEXT PRIMARY KEY REFERENCES runs (id)", "cell": "INTEGER NOT NULL"},
    "warnings": {
        "run": "TEXT NOT NULL REFERENCES runs (id)", "cell": "INTEGER NOT NULL",
        "text": "TEXT NOT NULL",
    },
    "owners": {"run": "TEXT PRIMARY KEY REFERENCES runs (id)", "studio": "TEXT NOT NULL"},
}  # fmt: skip
"""Tables and their columns. Runs are ordered by their row numbers, which only grow."""

_MORE = {"cells": ", PRIMARY KEY (run, cell)", "warnings": ", PRIMARY KEY (run, cell, text)"}
SCHEMA = "\n".join(
    f"CREATE TABLE IF NOT EXISTS {table} "
    f"({', '.join(f'{name} {kind}' for name, kind in columns.items())}{_MORE.get(table, '')});"
    for table, columns in TABLES.items()
)


def open_database(file: Path, pictures: PictureFiles, shared: bool, notices: list[str]) -> Database:
    """Open the database of an outputs folder, or a new one where it is damaged.

    A damaged one is put aside under another name. Runs that can still be read of it are kept, and
    pictures that belong to none of them come back as runs of one picture.

    Args:
        pictures: of the same folder.
        shared: whether other studios use it now, under which it must not be moved away.
        notices: gets a line on what was done.
    Raises: sqlite3.Error, OSError: if it cannot be opened. StorageUnavailable: if it is damaged
        and shared.
    """
    try:
        check_sound(file, {table: set(columns) for table, columns in TABLES.items()})
    except sqlite3.DatabaseError as error:
        said = " ".join(str(error).split())
        if not _is_ours(file, pictures):
            raise
        if shared:
            raise StorageUnavailable(
                f"{file} is damaged ({said}), and another studio uses it; end that one first"
            ) from None
        aside = _put_aside(file)
        new = Database(file, SCHEMA)
        runs = new.write(lambda db: _keep_runs(aside, db))
        lone = new.write(lambda db: _keep_pictures(pictures, db))
        notices.append(
            f"{file.name} was damaged ({said}) and is now {aside.name}; kept {runs} runs that "
            f"could be read of it, and {lone} pictures found beside them"
        )
        log.warning("%s", notices[-1])
        return new
    return Database(file, SCHEMA)


def _is_ours(file: Path, pictures: PictureFiles) -> bool:
    """Whether what is no sound database was once one of ours."""
    with file.open("rb") as opened:
        head = opened.read(16)
    known = head in (b"SQLite format 3\0", bytes(16))
    return known or next(pictures.folder.glob("??/*.png"), None) is not None


def _put_aside(file: Path) -> Path:
    """Rename a database and what belongs to it; a name that is free."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = file.with_name(f"{file.stem}-damaged-{stamp}.sqlite")
    number = 1
    while aside.exists():
        number += 1
        aside = file.with_name(f"{file.stem}-damaged-{stamp}-{number}.sqlite")
    file.rename(aside)
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{file}{ending}").rename(f"{aside}{ending}")
    return aside


def _keep_runs(aside: Path, new: sqlite3.Connection) -> int:
    """Copy what can be read of a damaged database. Returns: how many runs."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(aside)) as old:
        for table, columns in TABLES.items():
            marks = ", ".join("?" * len(columns))
            into = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            for row in _readable(old, table, list(columns)):
                with suppress(sqlite3.Error):
                    new.execute(into, row)
        # A run without its cells, or cells without their run, would show nothing.
        new.execute("DELETE FROM runs WHERE id NOT IN (SELECT run FROM cells)")
        for table in ("cells", "winners", "owners"):
            new.execute(f"DELETE FROM {table} WHERE run NOT IN (SELECT id FROM runs)")
    count: int = new.execute("SELECT count(*) FROM runs").fetchone()[0]
    return count


_WHERE_MISSING = {"created": "0.0", "status": "'done'", "stats": "'{}'", "cached": "0"}


def _readable(old: sqlite3.Connection, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """List the rows of a table as far as they can be read, from its start and from its end."""
    found: dict[int, tuple[Any, ...]] = {}
    try:
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    except sqlite3.Error:
        return []
    named = ", ".join(
        one if one in there else f"{_WHERE_MISSING.get(one, 'NULL')} AS {one}" for one in columns
    )
    for order in ("ASC", "DESC"):
        try:
            for number, *row in old.execute(
                f"SELECT rowid, {named} FROM {table} ORDER BY rowid {order}"
            ):
                found[number] = tuple(row)
            break
        except sqlite3.Error as error:
            log.debug("%s can be read only in part: %s", table, error)
    return [found[number] for number in sorted(found)]


def _keep_pictures(pictures: PictureFiles, new: sqlite3.Connection) -> int:
    """Make runs of the pictures that belong to none. Returns: how many."""
    known = {row[0] for row in new.execute("SELECT DISTINCT address FROM cells")}
    stats = json.dumps(asdict(Stats(cells=1)))
    count = 0
    lone = [one for one in pictures.found() if one[1] not in known]
    # Row numbers below those of all others: they stand behind them in the list of runs.
    for number, (written, address, request) in enumerate(lone, -len(lone)):
        sheet = Sheet(base=request).model_dump_json()
        values = (number, address[:12], written, "done", sheet, stats)
        found = new.execute(
            "INSERT OR IGNORE INTO runs (rowid, id, created, status, sheet, stats) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        if found.rowcount:
            count += 1
            new.execute(
                "INSERT OR IGNORE INTO cells (run, cell, request, address, seconds, cached) "
                "VALUES (?, 0, ?, ?, 0.0, 0)",
                (address[:12], request.to_json(), address),
            )
    return count
