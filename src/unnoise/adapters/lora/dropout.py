"""Dropout whose mask is a function of the row, not of the rows beside it, of the device or of what was drawn before.

Value i of a row is dropped by a hash of i and of the key of the row.
Source: the 32-bit finaliser "lowbias32" of Wellons, hash-prospector, whose bits each depend on all bits of the input.
"""

import torch
from torch import Tensor

FIRST, SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)  # as signed numbers of 32 bits


def row_dropout(x: Tensor, probability: float, keys: Tensor) -> Tensor:
    """Set each value of x to zero with a probability, and scale the others by 1/(1 - probability).

    Args:
        x: (R*k, *d), k of each row; another number belongs to no row, and takes the first key.
        keys: (R,) int32, of the rows.
    """
    keys = keys.to(x.device) if len(x) % len(keys) == 0 else keys[:1].to(x.device)
    count = x.numel() // len(keys)
    index = torch.arange(count, dtype=torch.int32, device=x.device)
    bits = mixed(mixed(index + keys[:, None]) ^ mixed(keys)[:, None])
    kept = (bits >> 8 & 0xFFFFFF) >= round(probability * (1 << 24))
    return x * (kept.reshape(x.shape) / max(1 - probability, 2.0**-24))


def mixed(x: Tensor) -> Tensor:
    """Hash 32-bit numbers, one to one."""
    x = (x ^ (x >> 16 & 0xFFFF)) * FIRST
    x = (x ^ (x >> 15 & 0x1FFFF)) * SECOND
    return x ^ (x >> 16 & 0xFFFF)
