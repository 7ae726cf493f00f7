"""Nodes of extensions of ComfyUI that sample, load models, encode prompts, or pass several of these on as one bundle.

One row is one class of nodes. Its inputs are given the names of ComfyUI's own nodes, so that the rest of the reader
does not depend on the extension. Every row was read in the file that it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomNode:
    """Describe a class of nodes; lists of names are separated by spaces.

    Args:
        source: the repository and the file that define its inputs
        widgets: in the order in which ComfyUI's interface saves them, up to the last one that is read
        moves: inputs with another name in ComfyUI's own nodes, and that name
        outputs: the names of what the outputs carry, by slot
        bundle: inputs that carry a model, prompts, a latent and settings together
        makes: of the names of inputs, those that it makes itself
        texts: inputs that are prompts
        samples: it runs a model
        task: of the run, where it is always the same
        family: the only family that it loads or runs
    """

    source: str
    widgets: str = ""
    moves: Mapping[str, str] = field(default_factory=dict)
    outputs: str = ""
    bundle: str = ""
    makes: str = ""
    texts: str = ""
    samples: bool = False
    task: str = ""
    family: str = ""

    def output(self, slot: int) -> str:
        """Return the name of what an output carries; "" where it is not known."""
        names = self.outputs.split()
        return names[slot] if 0 <= slot < len(names) else ""

    def slot(self, name: str) -> int:
        """Return the output that carries something; one behind all outputs where only a bundle carries it."""
        names = self.outputs.split()
        return names.index(name) if name in names else len(names)

    def made(self, name: str) -> bool:
        """Return whether the node makes something itself."""
        return name in self.makes.split()
