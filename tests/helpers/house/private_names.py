"""Private names of the product that tests reach for, found in their syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.helpers.house.source_tree import SourceFile

OURS = ("pipelines", "ui", "presets", "training", "bench", "app")
# Public by the documentation of `collections.namedtuple`.
DOCUMENTED = frozenset({"_replace", "_asdict", "_fields", "_make"})
BY_NAME = frozenset({"setattr", "getattr", "delattr", "hasattr", "object", "attrgetter", "patch"})
_PRIVATE = re.compile(r"_[A-Za-z]\w*")
_DOTTED = re.compile(rf"({'|'.join(OURS)})(\.\w+)*\._[A-Za-z]\w*(\.\w+)*")


def reached(files: Iterable[SourceFile], foreign: frozenset[str] = frozenset()) -> list[str]:
    """List the places where files reach for a private name, as "file:line name".

    Nothing says what an object is, so every private attribute counts, but those that the file's
    own classes define, and those of modules of other projects. A test's class that inherits from
    one of the product has no more right to its private names than others.

    Args:
        foreign: private names of libraries, for which there is no public way.
    """
    found = []
    for file in files:
        places = sorted(set(_places(file)))
        found += [f"{file.path}:{line} {name}" for line, name in places if name not in foreign]
    return found


def _places(file: SourceFile) -> Iterator[tuple[int, str]]:
    own, libraries = _defined(file.tree), _libraries(file.tree)
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            yield from (
                (node.lineno, alias.name) for alias in node.names if _is_private(alias.name)
            )
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            if node.attr not in own and _root(node) not in libraries:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _DOTTED.fullmatch(node.value):
                yield node.lineno, node.value
        elif isinstance(node, ast.Call) and _called(node) in BY_NAME:
            strings = (a.value for a in node.args if isinstance(a, ast.Constant))
            yield from (
                (node.lineno, name)
                for name in strings
                if isinstance(name, str) and _is_private(name) and name not in own
            )


def _is_private(name: str) -> bool:
    return bool(_PRIVATE.fullmatch(name)) and name not in DOCUMENTED


def _defined(tree: ast.Module) -> set[str]:
    """List the attributes and methods that the file's own classes define."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    inner = [node for one in classes for node in ast.walk(one)]
    assigned = {
        node.attr
        for node in inner
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    fields = {
        node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return assigned | fields | {node.name for node in inner if isinstance(node, ast.FunctionDef)}


def _libraries(tree: ast.Module) -> set[str]:
    """List the names under which a file imports other projects' modules or things in them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                (alias.asname or alias.name).split(".")[0]
                for alias in node.names
                if _is_foreign(alias.name)
            }
        elif isinstance(node, ast.ImportFrom) and _is_foreign(node.module or ""):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def _is_foreign(module: str) -> bool:
    return module.split(".")[0] not in (*OURS, "tests")


def _root(node: ast.Attribute) -> str:
    """Find the name that a chain of attributes begins with; "" if with something else."""
    value: ast.expr = node
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _called(node: ast.Call) -> str:
    """Find the last part of the called function's name."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
