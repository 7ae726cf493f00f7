"""Load the tensors of files into a network, and check that they are complete."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.formats.tensors import raw
from unnoise.integrations.diffusers.dtypes import dtype_of

HEAD = 1024  # numbers of each tensor in a fingerprint
FEW = 3  # names that a message lists
PAGES = 1 << 28  # bytes read from files before their memory is released
# Names of older versions of diffusers: of attention in autoencoders.
# Source: diffusers, models/modeling_utils.py, _convert_deprecated_attention_blocks
OLD = tuple(
    (re.compile(rf"(^|\.)(mid_block\.)?attentions\.0\.{old}\."), f".{new}.")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)
IGNORED = ("position_ids", "num_batches_tracked", "logit_scale")  # buffers and unused parameters


def fill(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    where: str,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    release: Callable[[], None] = lambda: None,
) -> str:
    """Load weights into a network and return their fingerprint. Tensors without conversion stay mapped to their file.

    Args:
        module: the network, with its parameters on the meta device.
        tensors: by name.
        where: the start of every message.
        dtype: of the floating weights that `in_float32` does not name in float32; None is as they are stored.
        device: of the weights.
        release: releases the memory of data that was read.

    Raises:
        InputError: tensors are missing, unexpected or of another shape.
    """
    found = matched(module, tensors, where)
    placed: dict[str, Tensor] = {}
    fingerprint, taken = sampled_fingerprint(found), 0
    for name in sorted(found):
        stored = found[name]
        placed[name] = stored.to(device, dtype_of(module, name, stored, dtype))
        taken += stored.numel() * stored.element_size()
        if taken > PAGES:
            taken = 0
            release()
    module.load_state_dict(placed, assign=True)
    for buffer in module.buffers():  # what is not in a file is computed, and stays as precise as it is
        buffer.data = buffer.to(device)
    release()
    module.requires_grad_(False).eval()
    return fingerprint


def sampled_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, dtypes, shapes and the first numbers of every tensor."""
    digest = hashlib.sha256()
    for name, stored in sorted(tensors.items()):
        digest.update(f"{name}\0{stored.dtype}\0{list(stored.shape)}\0".encode())
        digest.update(raw(stored.reshape(-1)[:HEAD]))
    return digest.hexdigest()


def joined(fingerprints: Mapping[str, str]) -> str:
    """Join the fingerprints of networks by name."""
    lines = "\n".join(f"{name} {fingerprints[name]}" for name in sorted(fingerprints))
    return hashlib.sha256(lines.encode()).hexdigest()


def matched(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensor of each parameter, also under its names in older files. Raises InputError as `fill` does."""
    needed = module.state_dict()
    renamed = {_current(name, needed): value for name, value in tensors.items()}
    tied: Mapping[str, str] = getattr(module, "all_tied_weights_keys", None) or {}
    for name, source in tied.items():
        for one, other in ((name, source), (source, name)):
            if one in needed and one not in renamed and other in renamed:
                renamed[one] = renamed[other]
    missing = [name for name in needed if name not in renamed]
    if missing:
        raise InputError(f"{where}: missing tensors: {_of(missing, len(needed))}")
    extra = [name for name in renamed if name not in needed and not name.endswith(IGNORED)]
    if extra:
        raise InputError(f"{where}: unexpected tensors: {_of(extra, len(renamed))}")
    wrong = [name for name, value in needed.items() if value.shape != renamed[name].shape]
    if wrong:
        first = f"{wrong[0]} is {list(renamed[wrong[0]].shape)}, expected {list(needed[wrong[0]].shape)}"
        raise InputError(f"{where}: tensors of another shape: {_of(wrong, len(needed))}; {first}")
    return {name: renamed[name] for name in needed}


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
    ordered = sorted(names)
    return f"{len(ordered)} of {total}: {', '.join(ordered[:FEW])}{', ...' if len(ordered) > FEW else ''}"
