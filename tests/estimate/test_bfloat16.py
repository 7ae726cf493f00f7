"""How this machine computes in bfloat16 is tried out, and each way takes what it is said to take."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from unnoise.estimate import bfloat16 as narrow
from unnoise.estimate.bfloat16 import Bfloat16, beside, bfloat16
from unnoise.estimate.cost_model import Kernels, cost

pytestmark = pytest.mark.cpu_isa
NATIVE = Bfloat16(points=True)  # as seen with AVX512_CORE_BF16
EMULATED = Bfloat16(sums=True, points=True, rows=True)
PLAIN = Bfloat16(packs=False, patches=True)


def zeros(*size: int, device: str = "cpu") -> Tensor:
    return torch.zeros(size, dtype=torch.bfloat16, device=device)


def turned(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def called(name: str, device: str) -> Tensor:
    """Call a kernel with numbers of its own."""
    make = partial(zeros, device=device)
    if name == "product":
        return linear(make(2048, 96), make(192, 96))
    if name == "products":
        return make(6, 512, 32) @ make(6, 32, 256)
    x, size = make(2, 64, 24, 24), 1 if "point" in name else 3
    weight = make(96, 64, size, size)
    return conv2d(turned(x) if "last" in name else x, weight, padding=size // 2, stride=2 if "stride" in name else 1)


CALLS = ["product", "products", "point", "point-last", "conv-last", "conv-stride"]
ROOM = 1 << 18  # of threads beside what is told


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_what_it_is_said_to_take(name: str) -> None:
    with torch.no_grad():
        size = called(name, "cpu").numel() * 2
        found = beside(lambda: called(name, "cpu")) + size
    assert cost(lambda: called(name, "meta")).peak == pytest.approx(found, rel=0.1, abs=ROOM)


@pytest.mark.parametrize(("how", "more"), [(NATIVE, "point"), (EMULATED, "product"), (PLAIN, "conv-last")])
def test_each_way_takes_more_for_what_it_does_otherwise(how: Bfloat16, more: str) -> None:
    """So the test above sees a machine that is taken for another."""
    others = {NATIVE, EMULATED, PLAIN} - {how} - ({EMULATED} if how == NATIVE else set())
    most = max(cost(lambda: called(more, "meta"), Kernels(halves=one)).peak for one in others)
    assert cost(lambda: called(more, "meta"), Kernels(halves=how)).peak > 1.1 * most + ROOM


def test_it_is_tried_on_the_cpu_wherever_it_is_asked() -> None:
    with torch.device("meta"):
        assert bfloat16.__wrapped__() == bfloat16()


def test_where_torch_does_not_tell_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Bfloat16:
        raise RuntimeError("profiler is already enabled")

    monkeypatch.setattr(narrow, "_probe", fails)
    assert bfloat16.__wrapped__() == Bfloat16()


def test_no_other_numbers_and_no_other_device_are_concerned() -> None:
    def wide() -> Tensor:
        return linear(torch.zeros(64, 32, device="meta"), torch.zeros(48, 32, device="meta"))

    assert len({cost(wide, Kernels(halves=how)).peak for how in (NATIVE, EMULATED, PLAIN)}) == 1
    made = [cost(lambda: called("product", "meta"), Kernels("cuda", halves=how)).peak for how in (NATIVE, EMULATED)]
    assert made[0] == made[1]
