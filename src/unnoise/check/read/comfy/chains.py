"""Follow a workflow upwards from a sampler along model, conditions, text encoders, latent and levels."""

from collections.abc import Callable, Iterator

from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.read.comfy.graph import DEPTH, Graph, Link, Node

LATENTS = ("samples", "latent_image", "latent", "latents", "samples1", "samples_to", "video_latent", "av_latent")
CONDITIONS = ("conditioning", "conditioning_1", "conditioning_to", "positive", "cond", "conditioning1", "base_cond")
MODELS = ("model", "model1", "base_model", "unet")
STACKS = ("lora", "lora_stack", "prev_lora")  # inputs for LoRAs that another node selects
MOTION = ("motion_model", "m_models")
# The output with the negative condition, where it is not the second.   Source: ComfyUI, comfy_extras/nodes_wan.py
NEGATIVE = {"WanInfiniteTalkToVideo": 2}
Pick = Callable[[Graph, Node, int], Link | None]


def models(graph: Graph, link: Link | None) -> list[Node]:
    """List the nodes from a use of a model up to its loader."""
    return list(_follow(graph, link, lambda graph, node, slot: graph.link(node, *MODELS)))


def conditions(graph: Graph, link: Link | None) -> list[Node]:
    """List the nodes from a use of a condition up to its text; at a node with two conditions, on the used side."""
    return list(_follow(graph, link, _condition))


def clips(graph: Graph, nodes: list[Node]) -> list[Node]:
    """List the nodes from the first text among conditions up to the loader of its text encoder."""
    link = next((link for node in nodes if (link := graph.link(node, "clip"))), None)
    return list(_follow(graph, link, lambda graph, node, slot: graph.link(node, "clip", "clip1")))


def latents(graph: Graph, link: Link | None) -> list[Node]:
    """List the nodes from a use of a latent up to its source: a size, an image, or another sampler."""
    return list(_follow(graph, link, _latent))


def loras(graph: Graph, node: Node) -> list[Node]:
    """List the nodes that select LoRAs for a node, from near to far."""
    return list(_follow(graph, graph.link(node, *STACKS), lambda graph, node, slot: graph.link(node, *STACKS)))


def motion(graph: Graph, node: Node) -> Node:
    """Return the node that loads the motion module that a node applies to a model; the node itself without one."""
    return next(reversed(list(_follow(graph, graph.link(node, *MOTION), _motion))), node)


def grids(graph: Graph, link: Link | None) -> list[Node]:
    """List the nodes from a use of levels up to their source."""
    return list(_follow(graph, link, lambda graph, node, slot: graph.link(node, "sigmas")))


def samples(node: Node) -> bool:
    """Return whether a node runs a model on a latent, whatever its class."""
    known = CUSTOM.get(node.kind)
    return known.samples if known else "latent_image" in node.links and not {"model", "guider"}.isdisjoint(node.links)


def _follow(graph: Graph, link: Link | None, pick: Pick) -> Iterator[Node]:
    visited: set[str] = set()
    while link is not None and link.id in graph.nodes and link.id not in visited and len(visited) < DEPTH:
        node = graph.nodes[link.id]
        visited.add(link.id)
        yield node
        link = pick(graph, node, link.slot)


def _condition(graph: Graph, node: Node, slot: int) -> Link | None:
    if "negative" in node.links and slot == NEGATIVE.get(node.kind, 1):
        return graph.link(node, "negative")
    return graph.link(node, *CONDITIONS)


def _motion(graph: Graph, node: Node, slot: int) -> Link | None:
    return graph.link(node, *MOTION)


def _latent(graph: Graph, node: Node, slot: int) -> Link | None:
    return None if samples(node) else graph.link(node, *LATENTS)
