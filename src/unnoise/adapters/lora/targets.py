"""Which layers of a model an adapter changes: groups of layers by what they do, or layers by the end of their name."""

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from unnoise.errors import InputError

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# By name, in the networks of diffusers, transformers and this program.
ATTENTION = re.compile(
    r"(^|\.)(attn\w*|attention|self_attn|cross_attn|SelfAttention|mix|cross)\."
    r"(to_\w+(\.0)?|add_\w+|out|out_proj|[qkvo](_proj)?)$"
)
FEED = re.compile(r"(^|\.)(ff|ff_context|ffn|feed|mlp|DenseReluDense)(\.|$)|(^|\.)layers\.\d+\.(gate|back)$")
GROUPS = ("attention", "feed-forward", "convolution", "text")
TEXT = "text"  # the group, and how the names of text networks begin


def chosen(roots: Mapping[str, nn.Module], wanted: Sequence[str]) -> list[str]:
    """List the layers "root.path" of some groups: attention, feed-forward, convolution, of the denoiser; text, which is
    attention and feed-forward of the text networks; or of layers whose name ends so.

    Raises InputError for a name that is neither a group nor the end of a layer's name.
    """
    found: dict[str, None] = {}
    every = [(f"{root}.{path}", root, module) for root, net in roots.items() for path, module in layers(net)]
    for one in wanted:
        here = [name for name, root, module in every if _belongs(one, name, root, module)]
        if not here and one in GROUPS:
            raise InputError(f"targets {one!r}: this model has no such layers")
        if not here:
            raise InputError(
                f"targets {one!r}: one of {', '.join(GROUPS)}, or the end of a layer's name such as 'to_q'"
            )
        found |= dict.fromkeys(here)
    return list(found)


def layers(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """List the layers that an adapter can change, with their paths."""
    for path, module in net.named_modules():
        if isinstance(module, nn.Linear) or (isinstance(module, CONVS) and module.groups == 1):
            yield path, module


def _belongs(wanted: str, name: str, root: str, module: nn.Module) -> bool:
    reads = root.startswith(TEXT)
    if wanted == TEXT:
        return reads and bool(ATTENTION.search(name) or FEED.search(name))
    if wanted in GROUPS and reads:
        return False
    if wanted == "attention":
        return bool(ATTENTION.search(name))
    if wanted == "feed-forward":
        return bool(FEED.search(name))
    if wanted == "convolution":
        return isinstance(module, CONVS)
    return name.endswith(f".{wanted}")
