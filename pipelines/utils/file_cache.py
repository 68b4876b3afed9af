"""File-stamped cache: keeps what was read from a file until that file is another."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar, TypeVarTuple

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of a file, or of each file in a folder."""

Options = TypeVarTuple("Options")
Result = TypeVar("Result")


def stamp(path: Path) -> Stamp:
    """Stamp a file, or the files directly in a folder: equal as long as nothing changed.

    Raises: OSError: if it is not there.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def cached_by_file(
    most: int | None,
) -> Callable[
    [Callable[[Path, *Options], Result]],
    Callable[[Path, *Options], Result],
]:
    """Decorate a function of a path: it runs again only when its file has another stamp.

    What it returns is shared between its callers, so they must not change it. Errors are not kept.

    Args:
        most: results that are kept, the last used of them; None = all.
    """

    def decorate(
        read: Callable[[Path, *Options], Result],
    ) -> Callable[[Path, *Options], Result]:
        @lru_cache(maxsize=most)
        def kept(path: Path, _: Stamp, *options: *Options) -> Result:
            return read(path, *options)

        @wraps(read)
        def stamped(path: Path, /, *options: *Options) -> Result:
            return kept(path, stamp(path), *options)

        return stamped

    return decorate
