"""A probe of how this machine computes in bfloat16, which decides what kernels allocate beside their tensors.

A CPU with bfloat16 instructions computes with the numbers as they are. With AVX-512 alone, oneDNN emulates them and
accumulates in float32. Below that, torch computes without oneDNN and lays convolutions out as matrix products. The name
and the flags of a CPU do not tell which, since `ONEDNN_MAX_CPU_ISA` and the build of torch decide as well. So a few
small calls run once a process, and the memory that torch's allocator hands out for each is compared with each way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

ROWS, SIDE, NARROW, WIDE = 512, 32, 16, 64  # of products, images and channels: the calls take milliseconds
UNAVAILABLE = (AttributeError, ImportError, RuntimeError, TypeError)


@dataclass(frozen=True, slots=True)
class Bfloat16:
    """What bfloat16 kernels allocate beside their inputs and outputs. The defaults are those of native bfloat16.

    Args:
        packs: matrix products allocate copies.
        sums: matrix products allocate their output in float32.
        points: convolutions with kernels of one pixel allocate a float32 image for each thread.
        rows: the same with channels last.
        patches: convolutions allocate all patches.
    """

    packs: bool = True
    sums: bool = False
    points: bool = False
    rows: bool = False
    patches: bool = False


@cache
def bfloat16() -> Bfloat16:
    """Probe this machine; without torch's allocator events, return native bfloat16."""
    try:
        with torch.no_grad():
            return _probe()
    except UNAVAILABLE:
        return Bfloat16()


def _probe() -> Bfloat16:
    """Compare calls of two sizes: what grows with the output is a copy of it, the rest is scratch space of a thread."""
    few, many = (beside(partial(linear, _zeros(rows, NARROW), _zeros(WIDE, NARROW))) for rows in (ROWS, 2 * ROWS))
    image, one, three = _zeros(1, NARROW, SIDE, SIDE), _zeros(WIDE, NARROW, 1, 1), _zeros(NARROW, NARROW, 3, 3)
    channels_last = image.contiguous(memory_format=torch.channels_last)
    points, rows = (beside(partial(conv2d, x, one)) for x in (image, channels_last))
    patches = beside(partial(conv2d, channels_last, three, padding=1))
    answer = 4 * WIDE * SIDE**2
    return Bfloat16(
        packs=many > 0,
        sums=many - few >= 4 * ROWS * WIDE,
        points=points >= answer,
        rows=rows >= answer,
        patches=patches >= 9 * 2 * image.numel(),
    )


def beside(call: Callable[[], Tensor]) -> int:
    """Return the peak bytes that a call allocates on the CPU beside its output."""
    watch: Any = torch.autograd  # not public, but silent; the public profiler may write to stderr
    plain = torch._C._profiler._ExperimentalConfig()
    watch._enable_profiler_legacy(
        watch.ProfilerConfig(watch.ProfilerState.CPU, False, True, False, False, False, plain)  # memory alone
    )
    try:
        answer = call()
    finally:
        threads = watch._disable_profiler_legacy()
    sizes = (event.cpu_memory_usage() for events in threads for event in events if event.kind() == "memory_alloc")
    return max(accumulate(sizes), default=0) - answer.numel() * answer.element_size()


def _zeros(*size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.bfloat16, device="cpu")
