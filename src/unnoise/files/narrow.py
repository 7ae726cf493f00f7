"""How this machine computes in bfloat16, which decides what kernels hold beside tensors: tried out, never assumed.

A CPU with instructions for bfloat16 works on the numbers as they are. Where there is AVX-512 alone oneDNN emulates
them, and sums in float32; below that torch computes by itself and lays convolutions out as products. Neither the name
nor the flags of a CPU tell which, because `ONEDNN_MAX_CPU_ISA` and the build of torch decide too. So a few small calls
are made, once a process, and what torch's allocator gives out for each is held to what each way of computing needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

ROWS, SIDE, NARROW, WIDE = 512, 32, 16, 64  # of products, of pictures, and channels: all calls take milliseconds
UNTOLD = (AttributeError, ImportError, RuntimeError, TypeError)


@dataclass(frozen=True, slots=True)
class Bfloat16:
    """Say what kernels for bfloat16 hold beside what they are given and answer.

    packs: products hold copies; sums: of their answers, in float32; points: convolutions with kernels of one pixel hold
    an image in float32 for each thread; rows: also with channels last; patches: convolutions hold all patches side by
    side. What is said without a try is how a CPU works that computes in bfloat16.
    """

    packs: bool = True
    sums: bool = False
    points: bool = False
    rows: bool = False
    patches: bool = False


@cache
def bfloat16() -> Bfloat16:
    """Try out how this machine computes; where torch does not let its allocator be watched, nothing is tried."""
    try:
        with torch.no_grad():
            return _tried()
    except UNTOLD:
        return Bfloat16()


def _tried() -> Bfloat16:
    """Compare calls: only what grows with an answer is a copy of it, each thread may have room of its own besides."""
    few, many = (beside(partial(linear, _zeros(rows, NARROW), _zeros(WIDE, NARROW))) for rows in (ROWS, 2 * ROWS))
    image, one, three = _zeros(1, NARROW, SIDE, SIDE), _zeros(WIDE, NARROW, 1, 1), _zeros(NARROW, NARROW, 3, 3)
    turned = image.contiguous(memory_format=torch.channels_last)
    points, rows = (beside(partial(conv2d, x, one)) for x in (image, turned))
    patches = beside(partial(conv2d, turned, three, padding=1))
    answer = 4 * WIDE * SIDE**2
    return Bfloat16(
        packs=many > 0,
        sums=many - few >= 4 * ROWS * WIDE,
        points=points >= answer,
        rows=rows >= answer,
        patches=patches >= 9 * 2 * image.numel(),
    )


def beside(call: Callable[[], Tensor]) -> int:
    """Give the most bytes that the allocator of the CPU gives out at one time for a call, beside its answer."""
    watch: Any = torch.autograd  # not public, but silent: what is public may write to stderr
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
