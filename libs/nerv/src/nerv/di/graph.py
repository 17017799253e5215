# SPDX-License-Identifier: Apache-2.0
"""Components and tasks as one graph, drawn."""

from collections.abc import Iterator, Mapping

import orjson

from nerv.di.component import Kind
from nerv.types import LifecycleState, frozen


@frozen
class Node:
    """One component, task or function. `needs` are names of other nodes; `state` is None for what has no life of its own."""

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    lazy: bool = False
    state: LifecycleState | None = None


@frozen
class Graph:
    """All nodes, in order of registration."""

    nodes: tuple[Node, ...]

    def text(self) -> str:
        """A tree for people: what nobody needs stands at the left, below each what it needs, drawn once."""
        nodes = {node.name: node for node in self.nodes}
        needed = {need for node in self.nodes for need in node.needs}
        drawn: set[str] = set()
        lines: list[str] = []
        for node in self.nodes:
            if node.name not in needed:
                lines += _branch(node, nodes, drawn, "", "")
        return "\n".join(lines)

    def mermaid(self) -> str:
        """A flowchart for Mermaid; an arrow leads from what needs to what is needed. What is called is rounded."""
        ids = {node.name: f"n{index}" for index, node in enumerate(self.nodes)}
        lines = ["graph TD"]
        for node in self.nodes:
            left, right = ("([", "])") if node.kind in (Kind.TASK, Kind.FUNCTION) else ("[", "]")
            label = node.name.replace('"', "#quot;")
            lines.append(f'    {ids[node.name]}{left}"{label}"{right}')
        lines += [f"    {ids[node.name]} --> {ids[need]}" for node in self.nodes for need in node.needs]
        return "\n".join(lines)

    def json(self) -> str:
        """`{"nodes": [{"name", "kind", "needs", "lazy", "state"}]}`."""
        return orjson.dumps({"nodes": self.nodes}).decode()


def _branch(node: Node, nodes: Mapping[str, Node], drawn: set[str], first: str, others: str) -> Iterator[str]:
    words = [node.kind.value, *(["lazy"] if node.lazy else []), *([node.state.value] if node.state else [])]
    if node.needs and node.name in drawn:
        yield f"{first}{node.name} (see above)"
        return
    drawn.add(node.name)
    yield f"{first}{node.name} ({', '.join(words)})"
    for index, need in enumerate(node.needs):
        last = index == len(node.needs) - 1
        here, below = ("└── ", "    ") if last else ("├── ", "│   ")
        yield from _branch(nodes[need], nodes, drawn, others + here, others + below)
