"""Put the tensors of files into a network: every one that it needs, each once, in the dtype that is asked for."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.formats.tensors import raw

HEAD = 1024  # numbers of each tensor that a fingerprint is made of
FEW = 5  # names that a message lists
PAGES = 1 << 28  # bytes read from files before their memory is given back
# Names that older versions gave: of attention in autoencoders, and of CLIP, whose prefix newer versions drop.
# Source: diffusers, models/modeling_utils.py, _convert_deprecated_attention_blocks
OLD = tuple(
    (re.compile(rf"(^|\.)(mid_block\.)?attentions\.0\.{old}\."), f".{new}.")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)
IGNORED = ("position_ids", "num_batches_tracked", "logit_scale")  # buffers that are no weights


def fill(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    where: str,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    release: Callable[[], None] = lambda: None,
) -> str:
    """Give a network its weights and return their fingerprint; what needs no change stays mapped to its file.

    dtype: of all floating weights, None = as they are stored; release: gives back the memory of what was read.
    Raises InputError where tensors are missing, left over or of another shape, with how many and the first five.
    """
    found = matched(module, tensors, where)
    placed: dict[str, Tensor] = {}
    digest, taken = hashlib.sha256(), 0
    for name in sorted(found):
        stored = found[name]
        digest.update(f"{name}\0{stored.dtype}\0{list(stored.shape)}\0".encode())
        digest.update(raw(stored.reshape(-1)[:HEAD]))
        wanted = dtype if dtype is not None and stored.is_floating_point() else stored.dtype
        placed[name] = stored.to(device, wanted)
        taken += stored.numel() * stored.element_size()
        if taken > PAGES:
            taken = 0
            release()
    module.load_state_dict(placed, assign=True)
    for _, buffer in module.named_buffers():
        buffer.data = buffer.to(device, dtype if dtype is not None and buffer.is_floating_point() else buffer.dtype)
    release()
    module.requires_grad_(False).eval()
    return digest.hexdigest()


def matched(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Pick for each tensor that a network needs the one of that name, or of the name that older files give it."""
    needed = module.state_dict()
    given = {_current(name, needed): value for name, value in tensors.items()}
    tied: Mapping[str, str] = getattr(module, "all_tied_weights_keys", None) or {}
    for name, source in tied.items():
        for one, other in ((name, source), (source, name)):
            if one in needed and one not in given and other in given:
                given[one] = given[other]
    missing = [name for name in needed if name not in given]
    if missing:
        raise InputError(f"{where}: lacks {_of(missing, len(needed))}")
    extra = [name for name in given if name not in needed and not name.endswith(IGNORED)]
    if extra:
        raise InputError(f"{where}: has beyond need {_of(extra, len(given))}")
    wrong = [name for name, value in needed.items() if value.shape != given[name].shape]
    if wrong:
        first = f"{wrong[0]} is {list(given[wrong[0]].shape)}, needed is {list(needed[wrong[0]].shape)}"
        raise InputError(f"{where}: of another shape are {_of(wrong, len(needed))}: {first}")
    return {name: given[name] for name in needed}


def _current(name: str, needed: Mapping[str, Tensor]) -> str:
    if name in needed:
        return name
    for pattern, new in OLD:
        match = pattern.search(name)
        if match:
            return name[: match.end()].rpartition(".")[0].rpartition(".")[0] + new + name[match.end() :]
    if name.startswith("text_model.") and name.removeprefix("text_model.") in needed:
        return name.removeprefix("text_model.")
    return f"text_model.{name}" if f"text_model.{name}" in needed else name


def _of(names: Iterable[str], total: int) -> str:
    listed = sorted(names)
    few = ", ".join(listed[:FEW]) + (", ..." if len(listed) > FEW else "")
    return f"{len(listed)} of {total} tensors: {few}"
