"""Rules of files and docstrings: what a file may be called, how long it may be, how it begins."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from tests.helpers.house.source_tree import SourceFile

MOST_NEIGHBOURS = 16
LONGEST_FIRST_LINE = 100
LONG, TOO_LONG = 300, 500
# Nouns that end like a gerund.
NOUNS = frozenset({"lighting"})


def crowded_folders(files: Iterable[SourceFile]) -> list[str]:
    """List folders where a Python file stands beside more than 16 others."""
    counts = Counter(PurePosixPath(file.path).parent.as_posix() for file in files)
    return [f"{name}: {n} files" for name, n in sorted(counts.items()) if n > MOST_NEIGHBOURS + 1]


def gerunds(files: Iterable[SourceFile]) -> list[str]:
    """List files whose name ends in "ing" and is no noun."""
    stems = ((file.path, PurePosixPath(file.path).stem) for file in files)
    return [path for path, stem in stems if stem.endswith("ing") and stem not in NOUNS]


def bad_first_lines(files: Iterable[SourceFile]) -> list[str]:
    """List files without a docstring, or with a first line of more than 100 characters.

    An empty file, such as a package's `__init__.py`, needs none.
    """
    found = []
    for file in files:
        first = (ast.get_docstring(file.tree) or "").split("\n")[0]
        if file.tree.body and not first:
            found.append(f"{file.path}: no docstring")
        elif len(first) > LONGEST_FIRST_LINE:
            found.append(f"{file.path}: {len(first)} characters")
    return found


def long_files(files: Iterable[SourceFile], reasons: Mapping[str, str]) -> list[str]:
    """List files over 500 lines, those over 300 without a reason, and reasons nobody needs.

    Args:
        reasons: why a file may have more than 300 lines, by its path.
    """
    lines = {file.path: file.lines for file in files}
    found = [
        f"{path}: {n} lines"
        for path, n in lines.items()
        if n > TOO_LONG or (n > LONG and path not in reasons)
    ]
    idle = [f"{path}: no reason needed" for path in reasons if lines.get(path, 0) <= LONG]
    return found + idle
