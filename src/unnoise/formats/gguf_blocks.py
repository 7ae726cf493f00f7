"""Dequantise the blocks of GGUF tensors: numbers of few bits that share a scale, and in the K kinds also a minimum.

Every function takes blocks (N, bytes of a block) as bytes and returns the numbers (N, numbers of a block) in float32.
Source: ggml-org/ggml, src/ggml-common.h (layouts) and src/ggml-quants.c, dequantize_row_*.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

GROUP = 32  # numbers that share a scale in Q4_K and Q5_K
SMALL = 16  # likewise in Q2_K, Q3_K and Q6_K


def _half(blocks: Tensor) -> Tensor:
    """Read (N, 2) bytes as a float16: (N, 1)."""
    return blocks.contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Split bytes (N, B) into (N, 2B): the low halves of all bytes, then the high ones."""
    return torch.cat([packed & 15, packed >> 4], dim=1)


def _bits(packed: Tensor, shifts: Sequence[int], mask: int) -> Tensor:
    """Cut fields out of bytes (N, B): (N, shifts, B)."""
    return packed[:, None] >> torch.tensor(shifts, dtype=torch.uint8)[None, :, None] & mask


def _fifth(packed: Tensor) -> Tensor:
    """Read the fifth bits of 32 numbers from 4 bytes, bit k of number k: (N, 32), 0 or 16."""
    return (_bits(packed, range(8), 1).transpose(1, 2).reshape(len(packed), GROUP)) << 4


def _q4_0(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * (_nibbles(b[:, 2:]).float() - 8)


def _q4_1(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * _nibbles(b[:, 4:]).float() + _half(b[:, 2:4])


def _q5_0(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * ((_nibbles(b[:, 6:]) | _fifth(b[:, 2:6])).float() - 16)


def _q5_1(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * (_nibbles(b[:, 8:]) | _fifth(b[:, 4:8])).float() + _half(b[:, 2:4])


def _q8_0(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * b[:, 2:].contiguous().view(torch.int8).float()


def _q2_k(b: Tensor) -> Tensor:
    scales, values = b[:, :16], _two_bits(b[:, 16:80]).reshape(len(b), -1, SMALL).float()
    scale, least = _half(b[:, 80:82]) * (scales & 15).float(), _half(b[:, 82:84]) * (scales >> 4).float()
    return (scale[..., None] * values - least[..., None]).flatten(1)


def _q3_k(b: Tensor) -> Tensor:
    high = _bits(b[:, :32], range(8), 1).flatten(1)
    values = (_two_bits(b[:, 32:96]) | high << 2).reshape(len(b), -1, SMALL).float() - 4
    low = _nibbles(b[:, 96:104])
    scales = (low | _bits(b[:, 104:108], (0, 2, 4, 6), 3).flatten(1) << 4).float() - 32
    return ((_half(b[:, 108:110]) * scales)[..., None] * values).flatten(1)


def _q4_k(b: Tensor) -> Tensor:
    return _scaled_groups(b, _bits(b[:, 16:].reshape(-1, GROUP), (0, 4), 15).reshape(len(b), -1, GROUP))


def _q5_k(b: Tensor) -> Tensor:
    low = _bits(b[:, 48:].reshape(-1, GROUP), (0, 4), 15).reshape(len(b), -1, GROUP)
    return _scaled_groups(b, low | _bits(b[:, 16:48], range(8), 1) << 4)


def _q6_k(b: Tensor) -> Tensor:
    low = _bits(b[:, :128].reshape(-1, 64), (0, 4), 15).reshape(len(b), -1)
    high = _bits(b[:, 128:192].reshape(-1, 32), (0, 2, 4, 6), 3).reshape(len(b), -1)
    values = ((low | high << 4).float() - 32).reshape(len(b), -1, SMALL)
    scales = _half(b[:, 208:210]) * b[:, 192:208].contiguous().view(torch.int8).float()
    return (scales[..., None] * values).flatten(1)


def _two_bits(packed: Tensor) -> Tensor:
    """Read 256 numbers of two bits: in each half of 128, all lowest fields of 32 bytes, then the next ones."""
    return _bits(packed.reshape(-1, 32), (0, 2, 4, 6), 3).reshape(len(packed), -1)


def _scaled_groups(b: Tensor, values: Tensor) -> Tensor:
    """Scale 8 groups of 32 numbers by six-bit scales and minima, which start at byte 4 of Q4_K and Q5_K."""
    first, second, mixed = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scales = torch.cat([first & 63, mixed & 15 | first >> 6 << 4], dim=1).float()
    least = torch.cat([second & 63, mixed >> 4 | second >> 6 << 4], dim=1).float()
    scale, base = _half(b[:, :2]) * scales, _half(b[:, 2:4]) * least
    return (scale[..., None] * values.float() - base[..., None]).flatten(1)


BLOCKS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
}  # fmt: skip
