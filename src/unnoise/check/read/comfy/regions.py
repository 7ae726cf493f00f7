"""Find what composes a large image of parts: areas with prompts of their own, or latents that are pasted together.

Source: comfyanonymous/ComfyUI, nodes.py; "Area Composition" and "Noisy Latent Composition" of ComfyUI_examples
"""

from unnoise.check.read.comfy.graph import Graph, Node

AREAS, PASTES = "ConditioningSetArea", "LatentComposite"  # begin the classes of nodes


def composer(graph: Graph, sampler: Node, positive: list[Node], latents: list[Node]) -> Node | None:
    """Return a node that composes the image of a sampler.

    Args:
        graph: the workflow
        sampler: the sampling node
        positive: nodes of its positive condition, the nearest first
        latents: nodes of its latent

    Returns:
        a node before the sampler, or behind it where its latent is pasted with others; None without such a node
    """
    if any(node.kind.startswith(AREAS) for node in graph.nodes.values()):
        area = next((node for node in graph.above(positive[:1]) if node.kind.startswith(AREAS)), None)
        if area is not None:
            return area
    pastes = [node for node in graph.nodes.values() if node.kind.startswith(PASTES)]
    return next((node for node in pastes if node in latents or sampler in graph.above([node])), None)
