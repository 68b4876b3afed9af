"""SHA-256 digests: hash lines, a file, or several files with their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipelines.utils.file_cache import cached_by_file


def digest_of_lines(lines: Iterable[str]) -> str:
    """Hash lines, in their order."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Hash what is in a file, again only when the file changed."""
    return _digest(path.resolve())  # links to one file share its digest


def digest_of_files(paths: Iterable[Path]) -> str:
    """Hash names and contents of several files, in whatever order they are given."""
    return digest_of_lines(sorted(f"{path.name} {digest_of_file(path)}" for path in paths))


@cached_by_file(most=None)
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
