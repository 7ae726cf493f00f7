"""Workflows as one graph: nodes with named inputs, each a value or a link to an output of another node."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.subject import Located, Location

NODES = 5000  # of a workflow that are read
DEPTH = 200  # nodes of a chain that are followed
NEAR = 4  # nodes between a switch and the value that sets it
INPUTS = 256  # of a node that are read
NAME = 200  # characters of the class of a node, of an input or of an id
LONGEST = 1 << 16  # characters of a joined text
# Nodes that pass a value on, with the input for it.   Source: comfy_extras/nodes_primitive.py; rgthree, KJNodes
HANDING = {
    "PrimitiveInt": "value", "PrimitiveFloat": "value", "PrimitiveString": "value", "PrimitiveStringMultiline": "value",
    "PrimitiveBoolean": "value", "INTConstant": "value", "FloatConstant": "value", "ComfyNumberConvert": "value",
    "StringConstant": "string", "StringConstantMultiline": "string", "Seed (rgthree)": "seed", "SeedNode": "seed",
}  # fmt: skip
SWITCH = "ComfySwitchNode"  # passes on_true or on_false, by its input "switch"
# Source: rgthree/rgthree-comfy, py/any_switch.py: the first linked input; ltdrdata/ComfyUI-Impact-Pack,
# modules/impact/util_nodes.py, GeneralSwitch: the input of the number "select"
FIRST, NUMBERED = "Any Switch (rgthree)", ("ImpactSwitch", "LatentSwitch", "SEGSSwitch")
# A choice that replaces width and height.   Source: yolain/ComfyUI-Easy-Use, py/libs/sampler.py;
# Suzie1/ComfyUI_Comfyroll_CustomNodes, nodes/nodes_aspect_ratio.py: the sides at its end, exchanged if swapped
SIZE = re.compile(r"(\d{1,5}) ?x ?(\d{1,5})$")
CHOICES, SWAPS = ("resolution", "aspect_ratio"), "swap_dimensions"


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
        """Return the output that the first linked input of these names comes from, through switches and bundles."""
        found = (self._linked(node, name) for name in names) if node else iter(())
        return next((settled for link in found if (settled := self._settled(link))), None)

    def source(self, node: Node | None, *names: str) -> Node | None:
        """Return the node that the first linked input of these names comes from, through switches and bundles."""
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

    def _linked(self, node: Node, name: str) -> Link | None:
        """Return the output that an input comes from, directly or in a bundle."""
        for _ in range(DEPTH):
            if name in node.links:
                return node.links[name]
            link = self._bundle(node)
            if link is None:
                return None
            node = self.nodes[link.id]
            maker = CUSTOM.get(node.kind)
            if maker and maker.made(name) and (name in maker.texts.split() or maker.samples or name not in node.links):
                return Link(node.id, link.slot if maker.samples else maker.slot(name))
        return None

    def _bundle(self, node: Node) -> Link | None:
        """Return the output that a bundle of a node comes from."""
        known = CUSTOM.get(node.kind)
        found = (node.links.get(name) for name in known.bundle.split()) if known else iter(())
        return next((link for link in found if link and link.id in self.nodes), None)

    def _settled(self, link: Link | None) -> Link | None:
        for _ in range(DEPTH):
            node = self.nodes.get(link.id) if link else None
            if node is None or link is None:
                return None
            side = self._side(node)
            if side is None:
                passed = self._passed(node, link.slot)
                if passed is None:
                    return link
                link = passed
            else:
                link = node.links.get(side)
        return None

    def _passed(self, node: Node, slot: int) -> Link | None:
        """Return the output that an output of a node of an extension passes on; None where the node makes it."""
        known = CUSTOM.get(node.kind)
        name = known.output(slot) if known else ""
        if not known or not name or (known.made(name) and (known.samples or name not in node.links)):
            return None
        return None if name in known.texts.split() else self._linked(node, name)

    def _side(self, node: Node) -> str | None:
        """Return the input that a switch passes on, "" where that is not known; None for another node."""
        if node.kind == SWITCH:
            state = self._value(node, "switch", NEAR)
            known = {True: "on_true", False: "on_false"}
            return known.get(state.value, "") if state and type(state.value) is bool else ""
        if node.kind == FIRST:
            return next((name for name, link in node.links.items() if link.id in self.nodes), "")
        if node.kind in NUMBERED:
            state = self._value(node, "select", NEAR)
            return f"input{state.value}" if state and type(state.value) is int else ""
        return None

    def _value(self, node: Node, name: str, left: int) -> Located[Any] | None:
        """Return the value of an input; left: how many more nodes may pass it on."""
        while left > 0:
            if name not in node.links:
                link = None if name in node.values else self._bundle(node)
                if link is None:
                    return node.values.get(name)
                node, left = self.nodes[link.id], left - 1
                continue
            link = node.links[name]
            upstream, left = self.nodes.get(link.id), left - 1
            if upstream is None:
                return None
            if upstream.kind == "StringConcatenate":
                return self._joined(upstream, left // 4)
            node, name = upstream, self._handed(upstream, link.slot)
        return None

    def _handed(self, node: Node, slot: int) -> str:
        """Return the input whose value an output of a node passes on; "" where there is none."""
        side = self._side(node)
        known = CUSTOM.get(node.kind)
        return side if side is not None else known.output(slot) if known else HANDING.get(node.kind, "")

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
    return named_alike(Node(id, raw["class_type"], values, links, Location(path, keys)))


def named_alike(node: Node) -> Node:
    """Give the inputs of a node of an extension the names of ComfyUI's own nodes."""
    known = CUSTOM.get(node.kind)
    if known is None:
        return replace(node, values={**node.values, **_chosen_size(node.values)})
    values = {known.moves.get(name, name): value for name, value in node.values.items()}
    links = {known.moves.get(name, name): link for name, link in node.links.items()}
    return replace(node, values={**values, **_chosen_size(values)}, links=links)


def _chosen_size(values: Mapping[str, Located[Any]]) -> dict[str, Located[Any]]:
    """Return the width and the height that a choice of a node replaces; empty where it leaves them."""
    chosen = next((values[name] for name in CHOICES if name in values), None)
    sides = SIZE.search(chosen.value[-NAME:]) if chosen is not None and isinstance(chosen.value, str) else None
    if chosen is None or sides is None or not {"width", "height"} <= values.keys():
        return {}
    swapped = SWAPS in values and values[SWAPS].value == "On"
    width, height = reversed(sides.groups()) if swapped else sides.groups()
    return {"width": Located(int(width), chosen.place), "height": Located(int(height), chosen.place)}
