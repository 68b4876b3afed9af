"""Import graph of a source tree, with the imports that a linter of import lines does not see.

An edge leads from a file to each file whose content it names: at the top, inside functions, under
`TYPE_CHECKING`, and by dotted strings such as `import_module("pipelines.backends.eager")`. That
`a.b.c` also runs `a/__init__.py` is no edge: the registries in an `__init__.py` name the files
that stand below it, and every one of those would close a circle.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from tests.helpers.house.source_tree import SourceFile

Graph = dict[str, set[str]]


def import_graph(files: Mapping[str, SourceFile]) -> Graph:
    """Build the graph of which file imports which, by dotted names."""
    return {name: set(_imports(file, files)) - {name} for name, file in files.items()}


def _imports(file: SourceFile, files: Mapping[str, SourceFile]) -> Iterator[str]:
    """List the files that one file imports; a file may come several times."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(file, node)
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                if inner in files or origin in files:
                    yield inner if inner in files else origin
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "." in node.value and node.value in files:
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            pattern = _pattern(file, node)
            if pattern is not None:
                yield from (name for name in files if pattern.fullmatch(name))


def _origin(file: SourceFile, node: ast.ImportFrom) -> str:
    """Resolve the module that a `from` line names."""
    if not node.level:
        return node.module or ""
    parts = file.name.split(".")
    kept = parts[: len(parts) - node.level + file.is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _pattern(file: SourceFile, node: ast.JoinedStr) -> re.Pattern[str] | None:
    """Compile a pattern of the modules that an f-string may name; None if it names none.

    `f"{__name__}.detectors.{name}"` names every module of that package.
    """
    found = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            found += re.escape(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            own = isinstance(part.value, ast.Name) and part.value.id == "__name__"
            found += re.escape(file.name) if own else r"\w+"
    return re.compile(found) if re.match(r"[a-z]\w*(\\\.|$)", found) else None


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Find the strongly connected components of more than one node, sorted.

    Source: Tarjan 1972, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1(2).
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for after in sorted(graph.get(node, ())):
            if after not in index:
                visit(after)
                low[node] = min(low[node], low[after])
            elif after in stack:
                low[node] = min(low[node], index[after])
        if low[node] == index[node]:
            cut = stack.index(node)
            component = sorted(stack[cut:])
            del stack[cut:]
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def siblings(graph: Mapping[str, set[str]], package: str) -> Graph:
    """Contract a graph to what stands directly in a package: its files, its folders as a whole.

    The package's own `__init__.py` is left out: it may name what stands below it.
    """
    inner: Graph = {}
    for name, targets in graph.items():
        start = _child(name, package)
        if start is not None:
            ends = {_child(target, package) for target in targets}
            inner.setdefault(start, set()).update(end for end in ends if end not in (None, start))
    return inner


def _child(name: str, package: str) -> str | None:
    """Find the direct child of a package that a module is or stands in; None if it is outside."""
    if not name.startswith(package + "."):
        return None
    return f"{package}.{name.removeprefix(package + '.').split('.')[0]}"


def folder_circles(graph: Mapping[str, set[str]], package: str) -> list[list[str]]:
    """Find circles between neighbours, in the package and in every folder below it."""
    folders = {name.rpartition(".")[0] for name in graph}
    inside = (name for name in folders if f"{name}.".startswith(f"{package}."))
    return [circle for name in sorted(inside) for circle in circles(siblings(graph, name))]
