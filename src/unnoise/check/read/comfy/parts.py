"""Parse the nodes and links of a workflow or a subgraph in the format of ComfyUI's interface."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.check.read.comfy.graph import INPUTS, NODES, is_name

OUTER, RESULT = -10, -20  # ids of the two sides of a subgraph
LINKS = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
Keys = tuple[str | int, ...]
Raw = Mapping[str, Any]
Origin = tuple[Any, int]  # id of a node, slot


@dataclass(frozen=True, slots=True)
class InterfaceParts:
    """Hold nodes by id, each with its keys in the file.

    Args:
        nodes: keys and content by id
        origins: the source of each link
        results: the source of each output of a subgraph
        names: inputs of a subgraph
        promoted: those of the inputs that stand for a widget
        setters: nodes that set a value by name
    """

    nodes: Mapping[Any, tuple[Keys, Raw]]
    origins: Mapping[Any, Origin]
    results: Mapping[int, Origin]
    names: tuple[str, ...]
    promoted: tuple[str, ...]
    setters: Mapping[str, Raw]

    def origin(self, slot: Raw) -> Origin | None:
        """Return the source of an input; None where it is not linked."""
        link = id_of(slot.get("link"))
        return None if link is None else self.origins.get(link)


def parts(content: Raw, keys: Keys) -> InterfaceParts:
    """Parse a workflow or a subgraph; keys: of its place in the file."""
    nodes: dict[Any, tuple[Keys, Raw]] = {}
    listed = content.get("nodes")
    for at, raw in enumerate(listed[:NODES] if isinstance(listed, list) else ()):
        if isinstance(raw, dict) and is_name(raw.get("type")) and id_of(raw.get("id")) is not None:
            nodes[raw["id"]] = ((*keys, "nodes", at), raw)
    links = list(_links(content.get("links")))
    origins = {id: origin for id, origin, _, _ in links}
    names = tuple(str(one.get("name")) for one in slots(content, "inputs"))
    shown = _shown(nodes, origins)
    return InterfaceParts(
        nodes,
        origins,
        {slot: origin for _, origin, target, slot in links if target == RESULT},
        names,
        tuple(name for at, name in enumerate(names) if at in shown),
        {name_of(raw): raw for _, raw in nodes.values() if raw["type"] == "SetNode"},
    )


def slots(raw: Raw, key: str) -> Iterator[Raw]:
    """List the inputs or the outputs of a node."""
    listed = raw.get(key)
    yield from (one for one in (listed[:INPUTS] if isinstance(listed, list) else ()) if isinstance(one, dict))


def id_of(value: Any) -> Any:
    """Return the id of a node or a link if it is a whole number or a text; else None."""
    return value if type(value) is int or is_name(value) else None


def name_of(raw: Raw) -> str:
    """Return the name that a node sets or gets."""
    values = raw.get("widgets_values")
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _links(listed: Any) -> Iterator[tuple[Any, Origin, Any, int]]:
    """List links, written as [id, from, slot, to, slot, type] or as objects: id, origin, target, slot there."""
    for link in listed if isinstance(listed, list) else ():
        fields = [link.get(key) for key in LINKS] if isinstance(link, dict) else link
        if isinstance(fields, list) and len(fields) >= 5 and type(fields[2]) is int and type(fields[4]) is int:
            yield id_of(fields[0]), (id_of(fields[1]), fields[2]), id_of(fields[3]), fields[4]


def _shown(nodes: Mapping[Any, tuple[Keys, Raw]], origins: Mapping[Any, Origin]) -> set[int]:
    """List the inputs of a subgraph that go to a widget."""
    inputs = (one for _, raw in nodes.values() for one in slots(raw, "inputs") if isinstance(one.get("widget"), dict))
    found = (origins.get(id_of(one.get("link"))) for one in inputs)
    return {origin[1] for origin in found if origin and origin[0] == OUTER}
