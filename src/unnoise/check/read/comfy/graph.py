"""Workflows as one graph: nodes with named inputs, each a value or a link to an output of another node."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from unnoise.check.subject import Located, Location

NODES = 5000  # of a workflow that are read
DEPTH = 200  # nodes of a chain that are followed
NEAR = 4  # nodes between a switch and the value that sets it
INPUTS = 256  # of a node that are read
NAME = 200  # characters of the class of a node, of an input or of an id
LONGEST = 1 << 16  # characters of a joined text
# Nodes that hand a value on, with the input that holds it.   Source: comfy_extras/nodes_primitive.py; rgthree, KJNodes
HANDING = {
    "PrimitiveInt": "value", "PrimitiveFloat": "value", "PrimitiveString": "value", "PrimitiveStringMultiline": "value",
    "PrimitiveBoolean": "value", "INTConstant": "value", "FloatConstant": "value", "ComfyNumberConvert": "value",
    "StringConstant": "string", "StringConstantMultiline": "string", "Seed (rgthree)": "seed", "SeedNode": "seed",
}  # fmt: skip
SWITCH = "ComfySwitchNode"  # passes on_true or on_false, by its input "switch"


@dataclass(frozen=True, slots=True)
class Link:
    """Name an output of a node."""

    id: str
    slot: int


@dataclass(frozen=True, slots=True)
class Node:
    """Hold a node: its class, its values by input, and the outputs that its other inputs come from."""

    id: str
    kind: str
    values: Mapping[str, Located[Any]]
    links: Mapping[str, Link]
    place: Location


@dataclass(frozen=True, slots=True)
class Graph:
    """Hold the nodes of a workflow that run, by their ids."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    def link(self, node: Node | None, *names: str) -> Link | None:
        """Return the output that the first linked input of these names comes from, through switches."""
        found = (node.links[name] for name in names if name in node.links) if node else iter(())
        return next((settled for link in found if (settled := self._settled(link))), None)

    def source(self, node: Node | None, *names: str) -> Node | None:
        """Return the node that the first linked input of these names comes from, through switches."""
        link = self.link(node, *names)
        return self.nodes[link.id] if link else None

    def value(self, node: Node | None, *names: str) -> Located[Any] | None:
        """Return the value of the first of these inputs that has one, directly or through another node."""
        found = (self._value(node, name, DEPTH) for name in names) if node else iter(())
        return next((value for value in found if value is not None), None)

    def above(self, starts: Iterable[Node]) -> Iterator[Node]:
        """List nodes and all nodes that they depend on, each once."""
        stack = list(starts)
        visited = {node.id for node in stack}
        while stack:
            here = stack.pop()
            yield here
            for link in here.links.values():
                if link.id in self.nodes and link.id not in visited:
                    visited.add(link.id)
                    stack.append(self.nodes[link.id])

    def _settled(self, link: Link | None) -> Link | None:
        for _ in range(DEPTH):
            node = self.nodes.get(link.id) if link else None
            if node is None or node.kind != SWITCH:
                return link if node else None
            link = node.links.get(self._side(node))
        return None

    def _side(self, node: Node) -> str:
        state = self._value(node, "switch", NEAR)
        return {True: "on_true", False: "on_false"}.get(state.value, "") if state and type(state.value) is bool else ""

    def _value(self, node: Node, name: str, left: int) -> Located[Any] | None:
        """Return the value of an input; left: how many more nodes may pass it on."""
        while name in node.links:
            upstream, left = self.nodes.get(node.links[name].id), left - 1
            if upstream is None or left < 0:
                return None
            if upstream.kind == "StringConcatenate":
                return self._joined(upstream, left // 4)
            node, name = upstream, self._side(upstream) if upstream.kind == SWITCH else HANDING.get(upstream.kind, "")
        return node.values.get(name)

    def _joined(self, node: Node, left: int) -> Located[Any] | None:
        parts = [self._value(node, name, left) for name in ("string_a", "delimiter", "string_b")]
        known = [part.value for part in parts if part is not None and isinstance(part.value, str)]
        if len(known) != 3 or sum(map(len, known)) > LONGEST:
            return None
        return Located(known[0] + known[1] + known[2], node.place)


def of_api(content: Mapping[str, Any], path: str, keys: tuple[str | int, ...] = ()) -> Graph:
    """Read the API format: {id: {class_type, inputs}}, where a link is [id, slot]."""
    nodes = {}
    for id, raw in islice(content.items(), NODES):
        if isinstance(raw, dict) and is_name(raw.get("class_type")) and isinstance(raw.get("inputs"), dict):
            nodes[id] = _node(id, raw, path, (*keys, id))
    return Graph(nodes)


def is_name(value: Any) -> bool:
    """Return whether something can be the name of a class or an input."""
    return isinstance(value, str) and len(value) <= NAME


def _node(id: str, raw: Mapping[str, Any], path: str, keys: tuple[str | int, ...]) -> Node:
    values: dict[str, Located[Any]] = {}
    links: dict[str, Link] = {}
    for name, value in islice(raw["inputs"].items(), INPUTS):
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int:
            links[name] = Link(str(value[0]), value[1])
        elif is_name(name):
            values[name] = Located(value, Location(path, (*keys, "inputs", name)))
    return Node(id, raw["class_type"], values, links, Location(path, keys))
