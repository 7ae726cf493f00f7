"""Dequantised blocks equal the loops of ggml's reference, written number by number."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch

from unnoise.formats.gguf import TYPES
from unnoise.formats.gguf_blocks import BLOCKS

Numbers = list[float]


def half(block: bytes, at: int) -> float:
    return float(struct.unpack_from("<e", block, at)[0])


def q4_0(b: bytes) -> Numbers:
    return [half(b, 0) * ((b[2 + k % 16] >> 4 * (k // 16) & 15) - 8) for k in range(32)]


def q4_1(b: bytes) -> Numbers:
    return [half(b, 0) * (b[4 + k % 16] >> 4 * (k // 16) & 15) + half(b, 2) for k in range(32)]


def fifth(b: bytes, at: int, k: int) -> int:
    return (int.from_bytes(b[at : at + 4], "little") >> k & 1) << 4


def q5_0(b: bytes) -> Numbers:
    return [half(b, 0) * ((b[6 + k % 16] >> 4 * (k // 16) & 15 | fifth(b, 2, k)) - 16) for k in range(32)]


def q5_1(b: bytes) -> Numbers:
    return [half(b, 0) * (b[8 + k % 16] >> 4 * (k // 16) & 15 | fifth(b, 4, k)) + half(b, 2) for k in range(32)]


def q8_0(b: bytes) -> Numbers:
    return [half(b, 0) * struct.unpack_from("<b", b, 2 + k)[0] for k in range(32)]


def place(k: int) -> tuple[int, int]:
    """Byte and shift of the k-th number of two bits."""
    return 32 * (k // 128) + k % 32, 2 * (k % 128 // 32)


def q2_k(b: bytes) -> Numbers:
    found = []
    for k in range(256):
        byte, shift = place(k)
        scale = b[k // 16]
        found.append(half(b, 80) * (scale & 15) * (b[16 + byte] >> shift & 3) - half(b, 82) * (scale >> 4))
    return found


def q3_k(b: bytes) -> Numbers:
    found = []
    for k in range(256):
        byte, shift = place(k)
        group = k // 16
        low = b[96 + group % 8] >> 4 * (group // 8) & 15
        scale = (low | (b[104 + group % 4] >> 2 * (group // 4) & 3) << 4) - 32
        high = 0 if b[k % 32] >> k // 32 & 1 else 4
        found.append(half(b, 108) * scale * ((b[32 + byte] >> shift & 3) - high))
    return found


def six_bits(q: bytes, j: int) -> tuple[int, int]:
    """ggml's get_scale_min_k4."""
    if j < 4:
        return q[j] & 63, q[j + 4] & 63
    return q[j + 4] & 15 | q[j - 4] >> 6 << 4, q[j + 4] >> 4 | q[j] >> 6 << 4


def q4_k(b: bytes) -> Numbers:
    found = []
    for k in range(256):
        scale, least = six_bits(b[4:16], k // 32)
        number = b[16 + 32 * (k // 64) + k % 32] >> 4 * (k % 64 // 32) & 15
        found.append(half(b, 0) * scale * number - half(b, 2) * least)
    return found


def q5_k(b: bytes) -> Numbers:
    found = []
    for k in range(256):
        scale, least = six_bits(b[4:16], k // 32)
        low = b[48 + 32 * (k // 64) + k % 32] >> 4 * (k % 64 // 32) & 15
        number = low | (b[16 + k % 32] >> k // 32 & 1) << 4
        found.append(half(b, 0) * scale * number - half(b, 2) * least)
    return found


def q6_k(b: bytes) -> Numbers:
    found = []
    for k in range(256):
        part, within = divmod(k, 128)
        low = b[64 * part + within % 64] >> 4 * (within // 64) & 15
        high = b[128 + 32 * part + within % 32] >> 2 * (within // 32) & 3
        scale = struct.unpack_from("<b", b, 192 + k // 16)[0]
        found.append(half(b, 208) * scale * ((low | high << 4) - 32))
    return found


LOOPS: dict[str, Callable[[bytes], Numbers]] = {
    "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0,
    "Q2_K": q2_k, "Q3_K": q3_k, "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k,
}  # fmt: skip
HALVES = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}  # places of the float16 of a block, else 0 and 2


def random_blocks(kind: str, count: int) -> torch.Tensor:
    """Draw blocks of any bits whose float16 numbers are finite."""
    width = next(size for name, _, size in TYPES.values() if name == kind)
    generator = np.random.default_rng(7)
    blocks = generator.integers(0, 256, (count, width), dtype=np.uint8)
    for at in HALVES.get(kind, (0, 2) if kind in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else (0,)):
        scales = generator.normal(size=count).astype("<f2")
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
    return torch.from_numpy(blocks)


def test_every_kind_has_its_loop() -> None:
    assert LOOPS.keys() == BLOCKS.keys() <= {name for name, _, _ in TYPES.values()}


@pytest.mark.parametrize("kind", BLOCKS)
def test_equal_to_the_loops_of_the_reference(kind: str) -> None:
    blocks = random_blocks(kind, 6)
    expected = torch.tensor([LOOPS[kind](bytes(row.numpy())) for row in blocks], dtype=torch.float64)
    found = BLOCKS[kind](blocks).double()
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-5)
