"""Diagram of the layers, drawn from the imports: `python -m tests.helpers.house.layers` writes it.

Each package stands on a floor: 0 imports none of its neighbours, and every other one is a floor
above the highest that it imports. Arrows that follow from others are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.helpers.house.imports import Graph, circles, import_graph, siblings
from tests.helpers.house.source_tree import read_tree

DOCUMENT = Path("docs/architecture.md")
BEGIN, END = "<!-- layers: begin -->\n", "<!-- layers: end -->\n"
TOP = ("app", "ui", "presets", "pipelines", "training", "bench")


def whole(graph: Mapping[str, set[str]]) -> Graph:
    """Contract the graph to the top folders and `app.py`."""
    found: Graph = {name: set() for name in TOP}
    for name, targets in graph.items():
        top = name.split(".")[0]
        if top in found:
            ends = {target.split(".")[0] for target in targets}
            found[top] |= (ends & found.keys()) - {top}
    return found


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Compute the floor of each package, its longest way down.

    Raises: ValueError: if packages import each other in a circle.
    """
    if found := circles(graph):
        raise ValueError(f"no floors, since these import each other: {found}")
    known: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in known:
            known[name] = max((floor(below) + 1 for below in graph.get(name, ())), default=0)
        return known[name]

    return {name: floor(name) for name in graph}


def reduced(graph: Mapping[str, set[str]]) -> Graph:
    """Keep the arrows that do not follow from others (transitive reduction)."""

    def reach(name: str) -> set[str]:
        below = graph.get(name, set())
        return below.union(*(reach(inner) for inner in below))

    return {
        name: {end for end in ends if not any(end in reach(other) for other in ends - {end})}
        for name, ends in graph.items()
    }


def drawn(graph: Mapping[str, set[str]]) -> str:
    """Draw one line a package, highest floor first: floor, name, what it imports next."""
    standing, arrows = floors(graph), reduced(graph)
    order = sorted(standing, key=lambda name: (-standing[name], name))
    width = max(len(_short(name)) for name in order)
    lines = []
    for name in order:
        below = sorted(arrows[name], key=lambda end: (-standing[end], end))
        ends = f" → {', '.join(map(_short, below))}" if below else ""
        lines.append(f"{standing[name]:3}  {_short(name):{width}}{ends}".rstrip())
    return "\n".join(lines)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def picture(graph: Mapping[str, set[str]]) -> str:
    """Draw the diagrams of the whole, of pipelines and of ui, as Markdown."""
    parts = {"whole tree": whole(graph)} | {
        package: siblings(graph, package) for package in ("pipelines", "ui")
    }
    return "".join(f"```text\n{name}\n{drawn(part)}\n```\n\n" for name, part in parts.items())


def replaced(text: str, inner: str) -> str:
    """Put `inner` between the two marks of a document."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + inner + END + tail


def main(root: Path = Path()) -> None:
    """Write the diagram into the document."""
    path = root / DOCUMENT
    path.write_text(replaced(path.read_text(), picture(import_graph(read_tree(root)))))


if __name__ == "__main__":
    main()
