"""Atomic file writes: beside the place, then renamed; and the folder of caches."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

_DRAFT = re.compile(r"\..+\.[0-9a-f]{12}\.part(\.[^.]+)?")
_UNDER_WAY: set[Path] = set()


def cache_folder() -> Path:
    """Return the folder of caches: CONTACT_SHEET_CACHE, or one in the user's own cache folder."""
    named = os.environ.get("CONTACT_SHEET_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "contact-sheet"


def regular_size(path: Path) -> int:
    """Measure a regular file, in bytes.

    Raises: OSError: if it is not there, or is a pipe, a device or a folder: reading one of those
        may never end.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a folder, not a file", str(path))
    return found.st_size


def save_png(path: Path, image: Image, info: PngInfo | None = None) -> Path:
    """Write a picture as PNG, whole or not at all.

    Raises: InvalidRequest: if the place cannot be written.
    """
    return _save(path, lambda file: image.save(file, "PNG", pnginfo=info))


def save_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, whole or not at all.

    Raises: InvalidRequest: if the place cannot be written.
    """
    return _save(path, lambda file: file.write(text.encode()))


def _save(path: Path, write: Callable[[BinaryIO], object], again: bool = True) -> Path:
    try:
        with drafts(path) as (draft,), draft.open("wb") as file:
            write(file)
    except OSError as error:
        if again and isinstance(error, FileNotFoundError):
            # Its folder was taken away meanwhile; it is made anew with each draft.
            return _save(path, write, again=False)
        raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}") from None
    return path


@contextmanager
def drafts(*paths: Path, keep_suffix: bool = False) -> Iterator[tuple[Path, ...]]:
    """Write files atomically: drafts beside them, which take their places when the block ends.

    Nobody sees a file half written, and any number of processes may write the same one: the last
    one stays. Where the block raises, the places are as they were and no draft is left.
    Args:
        paths: the places, in the order in which they are taken; their folders may be missing.
        keep_suffix: drafts end as their places do, for writers that look at the ending. Others
            end in `.part`, so that one left by a killed process is not taken for the real thing.
    Returns: one draft a path; files of one stem have drafts of one stem.
    Raises: OSError: if a place cannot be written.
    """
    # Unlike a process' number this is unique also where containers share a folder.
    token = uuid.uuid4().hex[:12]
    found = tuple(path.with_name(_draft_name(path, token, keep_suffix)) for path in paths)
    _UNDER_WAY.update(found)
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield found
        for draft in found:
            # Else a crash of the computer may leave the new name with no contents.
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        for draft, path in zip(found, paths, strict=True):
            draft.replace(path)
    except BaseException:
        for draft in found:
            # Whatever else is wrong with the disk, the first error is the one to tell.
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise
    finally:
        _UNDER_WAY.difference_update(found)


def is_draft(name: str) -> bool:
    """Tell whether a file of this name is one of `drafts`."""
    return bool(_DRAFT.fullmatch(name))


def discard_drafts() -> None:
    """Delete the drafts that this process has under way, before it ends at once."""
    for path in tuple(_UNDER_WAY):
        with suppress(OSError):
            path.unlink()


def _draft_name(path: Path, token: str, keep_suffix: bool) -> str:
    if keep_suffix:
        return f".{path.stem}.{token}.part{path.suffix}"
    return f".{path.name}.{token}.part"
