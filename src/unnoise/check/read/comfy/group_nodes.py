"""Read group nodes, which ComfyUI's interface had before subgraphs, as subgraphs.

    {"nodes": [{"type": "workflow>NAME", "inputs", "widgets_values"}],
     "extra": {"groupNodes": {NAME: {"nodes", "links": [[from, slot, to, slot]], "external": [[from, slot]]}}}}

Nodes are numbered by their order. Inputs of the group are those of its nodes without a link inside, in their order, and
outputs those without a link inside, or with one to the outside. Values of widgets are those of all nodes in a row.
Source: Comfy-Org/ComfyUI_frontend, src/extensions/core/groupNode.ts, GroupNodeConfig
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.read.comfy.parts import OUTER, RESULT, InterfaceParts, Keys, Raw, id_of, parts, slots

PREFIXES = ("workflow>", "workflow/")
OFFSET = "unnoise_widgets_offset"  # of the values of an inner node among those of its group
MOST = 200  # nodes of a group
REROUTE = "Reroute"


def groups_of(content: Raw) -> Mapping[str, Raw]:
    """Return the group nodes that a workflow defines, by the type of the nodes that use them."""
    extra = content.get("extra")
    listed = extra.get("groupNodes") if isinstance(extra, dict) else None
    found = listed.items() if isinstance(listed, dict) else ()
    return {f"{prefix}{name}": group for name, group in found if isinstance(group, dict) for prefix in PREFIXES}


def group_parts(group: Raw, raw: Raw, keys: Keys) -> InterfaceParts:
    """Return the nodes and links of one use of a group node.

    Args:
        group: its definition
        raw: the node that uses it
        keys: of that node in the file

    Returns:
        parts as those of a subgraph, whose inputs are named by their number
    """
    listed = group.get("nodes")
    nodes: list[Raw] = [node for node in (listed[:MOST] if isinstance(listed, list) else ()) if isinstance(node, dict)]
    inner = [link for link in _links(group) if link[0] is not None]
    links = [[at, *link] for at, link in enumerate(inner)]
    linked = {(link[2], link[3]): at for at, link in enumerate(inner)}
    free = list(_free_inputs(nodes, inner, linked))
    for number, (node, slot) in enumerate(free):
        linked[node, slot] = len(links)
        links.append([len(links), OUTER, number, node, slot])
    links += [
        [len(links) + at, node, slot, RESULT, at] for at, (node, slot) in enumerate(_outputs(group, nodes, inner))
    ]
    placed = [_linked(node, at, linked) for at, node in enumerate(_valued(nodes, raw))]
    content = {"nodes": placed, "links": links, "inputs": [{"name": str(number)} for number in range(len(free))]}
    found = parts(content, keys)
    own = ("extra", "groupNodes", raw["type"][len(PREFIXES[0]) :], "nodes")
    kept = {id: (keys if OFFSET in node else (*own, id), node) for id, (_, node) in found.nodes.items()}
    return InterfaceParts(kept, found.origins, found.results, found.names, (), found.setters)


def _links(group: Raw) -> Iterator[list[Any]]:
    """List links as [from, slot, to, slot]; from is None outside of the group."""
    listed = group.get("links")
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, list) and len(link) >= 4 and all(type(link[at]) is int for at in (1, 2, 3)):
            yield [id_of(link[0]), *link[1:4]]


def _free_inputs(nodes: list[Raw], inner: list[list[Any]], linked: Mapping[Any, int]) -> Iterator[tuple[int, int]]:
    """List the inputs that the group shows: those of widgets come last, and those of inner reroutes are hidden."""
    sources = {link[0] for link in inner}
    last: list[tuple[int, int]] = []
    for at, node in enumerate(nodes):
        for slot, one in enumerate(slots(node, "inputs")):
            if (at, slot) in linked or (
                node.get("type") == REROUTE and at in sources and any(at == k[0] for k in linked)
            ):
                continue
            if isinstance(one.get("widget"), dict):
                last.append((at, slot))
            else:
                yield at, slot
    yield from last


def _outputs(group: Raw, nodes: list[Raw], inner: list[list[Any]]) -> Iterator[tuple[int, int]]:
    listed = group.get("external")
    outside = [one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, list) and len(one) > 1]
    shown = {(one[0].get("index") if isinstance(one[0], dict) else id_of(one[0]), id_of(one[1])) for one in outside}
    hidden = {(link[0], link[1]) for link in inner} - shown
    for at, node in enumerate(nodes):
        yield from ((at, slot) for slot, _ in enumerate(slots(node, "outputs")) if (at, slot) not in hidden)


def _valued(nodes: list[Raw], raw: Raw) -> Iterator[Raw]:
    """Give inner nodes the values that the group's node has for their widgets, if it has one for each."""
    values = raw.get("widgets_values")
    counts = [len(held) if isinstance(held := node.get("widgets_values"), list) else 0 for node in nodes]
    own = isinstance(values, list) and len(values) == sum(counts)
    at = 0
    for node, count in zip(nodes, counts, strict=True):
        yield {**node, "widgets_values": values[at : at + count], OFFSET: at} if own and values and count else node
        at += count


def _linked(node: Raw, id: int, linked: Mapping[Any, int]) -> Raw:
    inputs = [{**one, "link": linked.get((id, slot))} for slot, one in enumerate(slots(node, "inputs"))]
    return {**node, "id": id, "inputs": inputs}
