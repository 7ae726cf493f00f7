"""Bring ComfyUI's API format and its UI format to one graph: nodes with named inputs, each a value or a link."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unnoise.check.read.comfy.widgets import WIDGETS
from unnoise.check.subject import Place, Said

NODES = 5000  # of a workflow that are looked at
MUTED = (2, 4)  # modes of nodes that do not run
PASSING = {"Reroute", "Reroute (rgthree)"}
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """Hold a node: its class, its values by input, and the nodes that its other inputs come from."""

    id: str
    kind: str
    values: Mapping[str, Said[Any]]
    links: Mapping[str, str]
    place: Place


@dataclass(frozen=True, slots=True)
class Graph:
    """Hold the nodes of a workflow that run, by their ids."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    def source(self, node: Node, *names: str) -> Node | None:
        """Give the node that the first linked input of these names comes from."""
        return next((self.nodes[node.links[name]] for name in names if node.links.get(name) in self.nodes), None)

    def value(self, node: Node | None, *names: str) -> Said[Any] | None:
        """Give a value of a node, also one that a primitive node hands to it."""
        if node is None:
            return None
        for name in names:
            if name in node.values:
                return node.values[name]
            source = self.source(node, name)
            if source is not None and source.kind.startswith("Primitive") and "value" in source.values:
                return source.values["value"]
        return None

    def above(self, node: Node) -> Iterator[Node]:
        """Walk from a node to all that it depends on, itself first, each once."""
        seen, stack = {node.id}, [node]
        while stack:
            here = stack.pop()
            yield here
            for id in here.links.values():
                if id in self.nodes and id not in seen:
                    seen.add(id)
                    stack.append(self.nodes[id])


def read_graph(content: Mapping[str, Any], path: str) -> Graph:
    """Read either format; a graph without nodes is no workflow."""
    listed = content.get("nodes")
    if isinstance(listed, list):
        return _of_ui(content, listed, path)
    inner = content.get("prompt")
    prefix: Keys = ()
    if isinstance(inner, dict):  # as it is sent to the server
        content, prefix = inner, ("prompt",)
    nodes = {}
    for id, said in list(content.items())[:NODES]:
        if isinstance(said, dict) and isinstance(said.get("class_type"), str) and isinstance(said.get("inputs"), dict):
            nodes[str(id)] = _of_api(str(id), said, path, (*prefix, id))
    return Graph(nodes)


def _of_api(id: str, said: Mapping[str, Any], path: str, keys: Keys) -> Node:
    values: dict[str, Said[Any]] = {}
    links: dict[str, str] = {}
    for name, value in said["inputs"].items():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            links[name] = str(value[0])
        else:
            values[name] = Said(value, Place(path, (*keys, "inputs", name)))
    return Node(id, said["class_type"], values, links, Place(path, keys))


def _of_ui(content: Mapping[str, Any], listed: list[Any], path: str) -> Graph:
    origins = dict(_origins(content.get("links")))
    nodes: dict[str, Node] = {}
    bypassed: dict[str, str] = {}
    for index, said in enumerate(listed[:NODES]):
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            continue
        node = _of_listed(said, ("nodes", index), path, origins)
        if node.kind in PASSING or said.get("mode") in MUTED:
            bypassed.update({node.id: next(iter(node.links.values()), "")})
        else:
            nodes[node.id] = node
    for node in nodes.values():
        for name, id in list(node.links.items()):
            node.links[name] = _through(id, bypassed)  # type: ignore[index]  # made as a dict above
    return Graph(nodes)


def _through(id: str, bypassed: Mapping[str, str]) -> str:
    """Follow a link through nodes that only pass on."""
    for _ in range(len(bypassed) + 1):
        if id not in bypassed:
            break
        id = bypassed[id]
    return id


def _origins(links: Any) -> Iterator[tuple[int, str]]:
    """List which node each link comes from: [id, from, slot, to, slot, type], or the same as an object."""
    for link in links if isinstance(links, list) else ():
        if isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int):
            yield link[0], str(link[1])
        elif isinstance(link, dict) and isinstance(link.get("id"), int):
            yield link["id"], str(link.get("origin_id"))


def _of_listed(said: Mapping[str, Any], keys: Keys, path: str, origins: Mapping[int, str]) -> Node:
    inputs = [one for one in said.get("inputs") or () if isinstance(one, dict)] if _is_list(said.get("inputs")) else []
    links = {
        str(one.get("name")): origins[one["link"]]
        for one in inputs
        if isinstance(one.get("link"), int) and one["link"] in origins
    }
    values = {
        name: Said(value, Place(path, (*keys, "widgets_values", at)))
        for name, value, at in _widgets(said, inputs)
        if name not in links
    }
    return Node(str(said.get("id")), said["type"], values, links, Place(path, keys))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _widgets(said: Mapping[str, Any], inputs: list[dict[str, Any]]) -> Iterator[tuple[str, Any, str | int]]:
    """Name the values of widgets: by their own names, by the inputs that they stand for, or by the table."""
    held = said.get("widgets_values")
    if isinstance(held, dict):
        yield from ((name, value, name) for name, value in held.items())
        return
    if not isinstance(held, list):
        return
    names = WIDGETS.get(said["type"])
    if names is None:
        names = tuple(str(one.get("name")) for one in inputs if isinstance(one.get("widget"), dict))
        if len(names) != len(held):
            return
    for at, (name, value) in enumerate(zip(names, held, strict=False)):
        if name != "+":
            yield name, value, at
