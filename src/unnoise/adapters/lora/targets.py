"""Select the layers that an adapter changes: by group, or by the end of their names."""

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from unnoise.errors import InputError

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Names of layers in the networks of diffusers, transformers and this program.
ATTENTION = re.compile(
    r"(^|\.)(attn\w*|attention|self_attn|cross_attn|SelfAttention|mix|cross)\."
    r"(to_\w+(\.0)?|add_\w+|out|out_proj|[qkvo](_proj)?)$"
)
FEED = re.compile(r"(^|\.)(ff|ff_context|ffn|feed|mlp|DenseReluDense)(\.|$)|(^|\.)layers\.\d+\.(gate|back)$")
NORM = re.compile(r"(?!Gemma).{0,60}(?:Layer|Group|RMS)Norm$")  # classes of norms; Gemma's multiply by 1 + weight
GROUPS = ("attention", "feed-forward", "convolution", "text")
TEXT = "text"  # the group, and the prefix of the names of text networks


def select_layers(roots: Mapping[str, nn.Module], targets: Sequence[str]) -> list[str]:
    """List the layers "root.path" of some networks that an adapter changes.

    Args:
        roots: the networks by name.
        targets: "attention", "feed-forward" or "convolution" of the denoiser, "text" for attention and feed-forward of
            the text networks, or ends of layer names such as "to_q".

    Raises:
        InputError: a target is neither a group with such layers nor the end of a layer's name.
    """
    found: dict[str, None] = {}
    every = [(f"{root}.{path}", root, module) for root, net in roots.items() for path, module in layers(net)]
    for target in targets:
        matching = [name for name, root, module in every if _belongs(target, name, root, module)]
        if not matching and target in GROUPS:
            raise InputError(f"targets {target!r}: this model has no such layers")
        if not matching:
            raise InputError(
                f"targets {target!r}: one of {', '.join(GROUPS)}, or the end of a layer's name such as 'to_q'"
            )
        found |= dict.fromkeys(matching)
    return list(found)


def layers(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """List the layers of a network that an adapter can change, with their paths."""
    for path, module in net.named_modules():
        if isinstance(module, nn.Linear) or (isinstance(module, CONVS) and module.groups == 1):
            yield path, module


def norms(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """List the norms of a network with a weight for each channel, of which files may have a difference."""
    for path, module in net.named_modules():
        if is_norm(module):
            yield path, module


def is_norm(module: nn.Module) -> bool:
    """Whether a layer's output is its normalised input times a weight for each channel, plus a bias if it has one."""
    weight = getattr(module, "weight", None)
    return bool(NORM.match(type(module).__name__)) and isinstance(weight, Tensor) and weight.ndim == 1


def _belongs(target: str, name: str, root: str, module: nn.Module) -> bool:
    is_text = root.startswith(TEXT)
    if target == TEXT:
        return is_text and bool(ATTENTION.search(name) or FEED.search(name))
    if target in GROUPS and is_text:
        return False
    if target == "attention":
        return bool(ATTENTION.search(name))
    if target == "feed-forward":
        return bool(FEED.search(name))
    if target == "convolution":
        return isinstance(module, CONVS)
    return name.endswith(f".{target}")
