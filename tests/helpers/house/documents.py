"""Paths and module names in prose and docstrings: whether what they name exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tests.helpers.house.source_tree import PACKAGES, SourceFile

TOP = (*PACKAGES, "docs", "models")
_TICKED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
# From the folder on that holds what `<name>`, `*` or `{name}` stands for.
_PLACEHOLDER = re.compile(r"/[^/]*[<*{]")
_DOTTED = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+")
_COMMAND = re.compile(rf"python -m (({'|'.join(PACKAGES)})(?:\.\w+)*)")
_TESTS = re.compile(r"(?<![\w/])tests/[\w/]+\.py")


def documents(root: Path) -> list[Path]:
    """List the project's prose: README, docs, the models' cards, notes under training."""
    globs = ("README.md", "docs/*.md", "models/*/README.md", "training/**/*.md")
    return [path for pattern in globs for path in sorted(root.glob(pattern))]


def lost_in_documents(
    root: Path, files: Mapping[str, SourceFile], examples: Collection[str] = ()
) -> list[str]:
    """List what the documents name and the tree does not hold, as "document:line name".

    Args:
        examples: paths that a user or a command makes, so that they need not exist.
    """
    known = _Known(root, files, examples)
    return [
        f"{path.relative_to(root)}:{number} {name}"
        for path in documents(root)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for name in [*known.lost(_TICKED.findall(line)), *known.lost_commands(line)]
    ]


def lost_in_docstrings(root: Path, files: Mapping[str, SourceFile]) -> list[str]:
    """List the same of docstrings, where short forms go unseen, as "file: name"."""
    known = _Known(root, files, ())
    return [
        f"{file.path}: {name}"
        for file in files.values()
        for text in _docstrings(file.tree)
        for name in [*known.lost(_ours(text)), *known.lost_commands(text)]
    ]


def _ours(text: str) -> list[str]:
    """Find what stands in backticks and begins with a folder of ours."""
    return [name for name in _TICKED.findall(text) if re.split(r"[./]", name)[0] in TOP]


def _docstrings(tree: ast.Module) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


class _Known:
    """Lookup of names: paths from the root, modules, and what modules define."""

    def __init__(
        self, root: Path, files: Mapping[str, SourceFile], examples: Collection[str]
    ) -> None:
        self._root, self._files, self._examples = root, files, examples
        self._ends = {
            "/".join(parts[i:])
            for file in files.values()
            for parts in [file.path.split("/"), file.path.split("/")[:-1]]
            for i in range(1, len(parts) - 1)
        }

    def lost(self, names: Iterable[str]) -> Iterator[str]:
        """Find names that look like a path or a module of ours and are none."""
        for whole in names:
            name = _PLACEHOLDER.split(whole)[0]
            if _DOTTED.fullmatch(name):
                if not (self._is_module(name) or self._is_path(name)):
                    yield name
            elif _PATH.fullmatch(name) and name not in self._examples:
                ours = "/" in name and name.split("/")[0] in TOP
                short = name.rstrip("/") in self._ends
                python = name.endswith(".py") and name != "__init__.py"
                if (ours or short or python) and not self._is_path(name):
                    yield name

    def lost_commands(self, line: str) -> Iterator[str]:
        """Find lost modules after `python -m`, and lost test files, anywhere in a line."""
        modules = (match[0] for match in _COMMAND.findall(line))
        yield from (name for name in modules if not self._is_module(name))
        yield from (name for name in _TESTS.findall(line) if not self._is_path(name))

    def _is_path(self, name: str) -> bool:
        return (self._root / name).exists()

    def _is_module(self, name: str) -> bool:
        if name in self._files:
            return True
        module, _, inner = name.rpartition(".")
        if module in self._files:
            return inner in _bound(self._files[module].tree)
        outer, _, holder = module.rpartition(".")
        return outer in self._files and holder in _bound(self._files[outer].tree)


def _bound(tree: ast.Module) -> set[str]:
    """List the names that a module defines or imports at its top."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            targets = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            found |= {n.id for n in targets if isinstance(n.ctx, ast.Store)}
    return found
