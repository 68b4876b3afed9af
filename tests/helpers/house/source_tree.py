"""Parsed source files of a project, by the names they are imported under."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("pipelines", "ui", "presets", "training", "bench", "tests")


@dataclass(frozen=True)
class SourceFile:
    """Python file of the project with its syntax tree.

    Args:
        name: what it is imported as, dotted.
        path: from the root, with slashes.
        is_package: whether it is an `__init__.py`, so that relative names start at itself.
        text: its source.
    """

    name: str
    path: str
    is_package: bool
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.text.count("\n")


def read_tree(root: Path, packages: tuple[str, ...] = PACKAGES) -> dict[str, SourceFile]:
    """Read every Python file of the packages, and `app.py` where there is one.

    Returns: the files by their dotted names.
    """
    paths = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    if (root / "app.py").exists():
        paths.append(root / "app.py")
    files = (_read(root, path) for path in paths if "__pycache__" not in path.parts)
    return {file.name: file for file in files}


def _read(root: Path, path: Path) -> SourceFile:
    parts = path.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return SourceFile(name, path.relative_to(root).as_posix(), is_package, path.read_text())


def in_packages(files: Mapping[str, SourceFile], *packages: str) -> list[SourceFile]:
    """Select the files of some packages or single modules."""
    return [file for file in files.values() if file.name.split(".")[0] in packages]
