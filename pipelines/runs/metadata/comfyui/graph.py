"""ComfyUI's graph: nodes with inputs that are values or links, and ways to follow the links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipelines.runs.metadata.parts.json_text import plain

NODES_MAX = 2_000
"""Nodes of a graph that are read; the largest graphs of people seen have some hundreds."""
_HOPS_MAX = 200
"""Nodes looked at for one value; graphs of people need a dozen."""
_PASS_ON = re.compile(r"reroute|switch|^any|^get|^set|pipe|bus|context|primitive", re.IGNORECASE)
_NUMBERS = ("seed", "noise_seed", "value", "int", "float", "number", "steps", "steps_total", "cfg")


@dataclass(frozen=True)
class Node:
    """One node: its class and its inputs by name."""

    id: str
    kind: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def links(self) -> dict[str, str]:
        """Names of the nodes that feed it, by input."""
        return {key: source for key, one in self.inputs.items() if (source := link(one))}


Graph = dict[str, Node]


def link(value: Any) -> str | None:
    """The node that a value comes from; None if it is no link."""
    if not isinstance(value, list) or len(value) != 2 or isinstance(value[0], list | dict):
        return None
    number = value[1]
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return str(value[0]) if isinstance(value[0], str | int) else None


def slot(value: Any) -> int:
    """The output of the other node that a link comes from."""
    return int(value[1]) if link(value) is not None else 0


def read_graph(found: Mapping[str, Any]) -> Graph:
    """Read a graph in the form of ComfyUI's API; what are no nodes is left out."""
    graph: Graph = {}
    for key, node in list(found.items())[:NODES_MAX]:
        kind = node.get("class_type") if isinstance(node, dict) else None
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(kind, str) and isinstance(inputs, dict):
            graph[key] = Node(key, kind, inputs)
    return graph


def walk(
    graph: Graph, starts: Iterable[str], follow: Callable[[Node], Iterable[str]]
) -> Iterator[Node]:
    """Walk against the links, nearest nodes first, each node once."""
    waiting, seen = list(starts), set[str]()
    place = 0
    while place < len(waiting):
        node = graph.get(waiting[place])
        place += 1
        if node is None or node.id in seen:
            continue
        seen.add(node.id)
        yield node
        waiting.extend(follow(node))


def ancestors(graph: Graph, start: str) -> set[str]:
    """All nodes that a node depends on, itself among them."""
    return {node.id for node in walk(graph, [start], lambda node: node.links.values())}


def name_of(value: Any) -> str | None:
    """A name, also as the nodes write it that show a picture beside it."""
    if isinstance(value, dict):
        value = value.get("content", value.get("__value__"))
    return plain(value)


def chosen_input(graph: Graph, node: Node) -> str | None:
    """The input that a switch lets through; None for other nodes."""
    key = f"input{node.inputs.get('select')}"
    if "switch" in node.inputs and {"on_true", "on_false"} & node.inputs.keys():
        value = node.inputs["switch"]
        for _ in range(_HOPS_MAX):
            source = graph.get(link(value) or "")
            if source is None:
                break
            value = source.inputs.get("value")
        key = "on_true" if value is True else "on_false"
    return key if key in node.inputs else None


def number(graph: Graph, value: Any, keys: tuple[str, ...] = ()) -> str | None:
    """Follow a value to the node that holds it, through reroutes and nodes for one value.

    Args:
        keys: names under which the source may keep it, before those of any number.
    """
    for _ in range(_HOPS_MAX):
        source = graph.get(link(value) or "")
        if source is None:
            return name_of(value)
        inputs = source.inputs
        wanted = [key for key in (*keys, *_NUMBERS) if key in inputs]
        through = chosen_input(graph, source)
        chosen = [through] if through else []
        rest = [key for key in inputs if _single(inputs[key])]
        links = list(source.links) if _PASS_ON.search(source.kind) else []
        key = next(iter([*chosen, *wanted, *(rest if len(rest) == 1 else []), *links]), None)
        if key is None:
            return None
        value = inputs[key]
    return None


def _single(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
