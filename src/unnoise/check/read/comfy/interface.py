"""Read the format of workflows that ComfyUI's interface saves.

    {"nodes": [{"id", "type", "mode", "inputs", "outputs", "widgets_values"}],
     "links": [[id, from, slot, to, slot, type]],
     "definitions": {"subgraphs": [{"id", "nodes", "links", "inputs", "outputs"}]}}

Subgraphs and group nodes are expanded, and nodes that only pass something on are removed: reroutes, bypassed nodes, and
values that are set and got by name.
Source: Comfy-Org/ComfyUI_frontend, src/lib/litegraph, LGraph.ts, Subgraph.ts, LLink.ts
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from unnoise.check.read.comfy.graph import DEPTH, NODES, Graph, Link, Node, named_alike
from unnoise.check.read.comfy.group_nodes import OFFSET, group_parts, groups_of
from unnoise.check.read.comfy.parts import OUTER, InterfaceParts, Keys, Origin, Raw, name_of, parts, slots
from unnoise.check.read.comfy.widgets import CONTROLS, aligned, widgets
from unnoise.check.subject import Located, Location

MUTED, BYPASSED = 2, 4  # modes of a node
REROUTES = ("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss", "GetNode", "SetNode")
NESTED = 8  # nested subgraphs that are expanded


@dataclass(frozen=True, slots=True)
class Scope:
    """Hold the nodes of the workflow, or of one use of a subgraph.

    Args:
        prefix: of the ids of its nodes
        parts: its nodes and links
        outer: the scope that uses the subgraph
        given: inputs, by name, of the node in `outer` that uses the subgraph
        widget_values: widgets of that node, by name
    """

    prefix: str
    parts: InterfaceParts
    outer: "Scope | None" = None
    given: Mapping[str, Raw] = field(default_factory=dict)
    widget_values: Mapping[str, Located[Any]] = field(default_factory=dict)


class InterfaceReader:
    """Expand the subgraphs of a workflow, and convert its nodes to a graph."""

    def __init__(self, content: Raw, path: str, keys: Keys = ()) -> None:
        self.path = path
        self.left = NODES
        self.scopes: dict[str, Scope] = {}
        self.found: dict[tuple[str, Origin], Link | Located[Any] | None] = {}
        listed = content.get("definitions")
        listed = listed.get("subgraphs") if isinstance(listed, dict) else None
        self.subgraphs: dict[str, InterfaceParts] = {}
        for at, one in enumerate(listed[:NODES] if isinstance(listed, list) else ()):
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                self.subgraphs[one["id"]] = parts(one, (*keys, "definitions", "subgraphs", at))
        self.groups = groups_of(content)
        self._enter(Scope("", parts(content, keys)), NESTED)

    def graph(self) -> Graph:
        """Return the graph of all nodes that run."""
        found: dict[str, Node] = {}
        for scope in self.scopes.values():
            for id, (keys, raw) in scope.parts.nodes.items():
                passes = raw["type"] in (*REROUTES, "PrimitiveNode", *self.subgraphs, *self.groups)
                if not passes and raw.get("mode") not in (MUTED, BYPASSED):
                    found[f"{scope.prefix}{id}"] = self._node(scope, f"{scope.prefix}{id}", raw, keys)
        return Graph(found)

    def _enter(self, scope: Scope, depth: int) -> None:
        self.left -= len(scope.parts.nodes)
        self.scopes[scope.prefix] = scope
        for id, (keys, raw) in scope.parts.nodes.items() if depth else ():
            group = self.groups.get(raw["type"])
            inner = self.subgraphs.get(raw["type"]) if group is None else group_parts(group, raw, keys)
            if inner is None or raw.get("mode") in (MUTED, BYPASSED) or self.left < len(inner.nodes):
                continue
            inputs = list(enumerate(slots(raw, "inputs")))
            given = {str(one.get("name")) if group is None else str(at): one for at, one in inputs}
            widget_values = self._widget_values(raw, inner, keys)
            self._enter(Scope(f"{scope.prefix}{id}:", inner, scope, given, widget_values), depth - 1)

    def _widget_values(self, raw: Raw, inner: InterfaceParts, keys: Keys) -> dict[str, Located[Any]]:
        """Return the values of a subgraph's node for the inputs that are widgets."""
        values = raw.get("widgets_values")
        if not isinstance(values, list):
            return {}
        found = list(aligned(inner.promoted, values, CONTROLS))
        if len(found) != len(inner.promoted) or not found or len(values) - found[-1][1] > 2:
            return {}
        return {name: Located(values[at], Location(self.path, (*keys, "widgets_values", at))) for name, at in found}

    def _node(self, scope: Scope, id: str, raw: Raw, keys: Keys) -> Node:
        at = (*keys, "widgets_values")
        offset = raw.get(OFFSET, 0)
        values = {
            name: Located(value, Location(self.path, (*at, key if isinstance(key, str) else key + offset)))
            for name, value, key in widgets(raw)
        }
        links: dict[str, Link] = {}
        for one in slots(raw, "inputs"):
            name, origin = str(one.get("name")), scope.parts.origin(one)
            found = self._origin(scope, origin) if origin else None
            if isinstance(found, Link):
                links[name] = found
                values.pop(name, None)
            elif found is not None:
                values[name] = found
        return named_alike(Node(id, raw["type"], values, links, Location(self.path, keys)))

    def _origin(self, scope: Scope, origin: Origin | None) -> Link | Located[Any] | None:
        """Follow a link to the output of a node that runs, or to the value of a widget."""
        way: list[tuple[str, Origin]] = []
        found: Link | Located[Any] | None = None
        while origin is not None and len(way) < DEPTH:
            key = (scope.prefix, origin)
            if key in self.found:
                found = self.found[key]
                break
            way.append(key)
            step = self._step(scope, origin)
            if not isinstance(step, tuple):
                found = step
                break
            scope, origin = step
        self.found.update(dict.fromkeys(way, found))
        return found

    def _step(self, scope: Scope, origin: Origin) -> tuple[Scope, Origin | None] | Link | Located[Any] | None:
        """Return the source of a link; where it only passes a value on, the next one."""
        id, slot = origin
        if id == OUTER and scope.outer is not None:
            name = scope.parts.names[slot] if 0 <= slot < len(scope.parts.names) else ""
            further = scope.outer.parts.origin(scope.given.get(name, {}))
            return (scope.outer, further) if further else scope.widget_values.get(name)
        keys, raw = scope.parts.nodes.get(id, ((), {}))
        inner = self.scopes.get(f"{scope.prefix}{id}:")
        if not raw or raw.get("mode") == MUTED:
            return None
        if inner is not None:
            return inner, inner.parts.results.get(slot)
        if raw.get("mode") == BYPASSED:
            return scope, scope.parts.origin(_bypass(raw, slot))
        if raw["type"] == "PrimitiveNode":
            values = raw.get("widgets_values")
            listed = values if isinstance(values, list) else []
            return Located(listed[0], Location(self.path, (*keys, "widgets_values", 0))) if listed else None
        if raw["type"] in REROUTES:
            return _passed(scope, raw)
        return Link(f"{scope.prefix}{id}", slot)


def of_interface(content: Raw, path: str, keys: Keys = ()) -> Graph:
    """Read a workflow in the interface's format; keys: of its place in the file."""
    return InterfaceReader(content, path, keys).graph()


def _passed(scope: Scope, raw: Raw) -> tuple[Scope, Origin | None]:
    """Follow a reroute, or a value by name to the node that sets it, in or outside of the subgraph."""
    here: Scope | None = scope
    while raw["type"] == "GetNode" and here is not None:
        setter = here.parts.setters.get(name_of(raw))
        if setter is not None:
            scope, raw = here, setter
        here = here.outer
    return scope, scope.parts.origin(next(slots(raw, "inputs"), {}))


def _bypass(raw: Raw, slot: int) -> Raw:
    """Return the input that a bypassed node passes to an output: of the same slot, else of the same type."""
    output = next(islice(slots(raw, "outputs"), slot, None), None) if slot >= 0 else None
    if output is None:
        return {}
    kind = output.get("type")
    same = next(islice(slots(raw, "inputs"), slot, None), {})
    return (
        same if same.get("type") == kind else next((one for one in slots(raw, "inputs") if one.get("type") == kind), {})
    )
