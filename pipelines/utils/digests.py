"""SHA-256 digests: of lines, of a file, and of several files with their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipelines.utils.file_cache import cached_by_file


def digest_of_lines(lines: Iterable[str]) -> str:
    """Digest of lines, in their order."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Digest of what is in a file, computed again only when the file changed."""
    return _digest(path.resolve())  # links to one file share its digest


def digest_of_files(paths: Iterable[Path]) -> str:
    """Digest of the names and contents of several files, in whatever order they are given."""
    return digest_of_lines(sorted(f"{path.name} {digest_of_file(path)}" for path in paths))


@cached_by_file(most=None)
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
