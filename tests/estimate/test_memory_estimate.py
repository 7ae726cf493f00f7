"""What a call is said to take, held to what torch's allocator gives out while the same call runs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from unnoise.errors import InputError
from unnoise.estimate import memory as budgets
from unnoise.estimate.cost_model import Cost, Kernels, cost, kept
from unnoise.estimate.memory import MemoryEstimate, MemoryStage, estimate_memory
from unnoise.generation.batch import Batch, Row
from unnoise.generation.prepare import shape_of
from unnoise.generation.prompt_rows import PromptRows
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.onednn import DTYPES, LEAST, PackedConv2d, PackedLinear, TextLinear, pack, release
from unnoise.loading import load, meta
from unnoise.pipeline import Pipeline

TIMES, CONTEXT = 17, 64  # of tokens
UNET: Mapping[str, Any] = {
    "block_out_channels": [128, 256], "layers_per_block": 1, "cross_attention_dim": CONTEXT, "attention_head_dim": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
VAE: Mapping[str, Any] = {
    "block_out_channels": [32, 64, 64, 64], "layers_per_block": 1, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
# Of the same make, for CPUs that compute in bfloat16 a thousand times slower than in float32.
LITTLE_UNET = UNET | {"block_out_channels": [32, 64]}
LITTLE_VAE = VAE | {"block_out_channels": [16, 32, 32, 32], "norm_num_groups": 16}
NETS: Mapping[str, tuple[str, Mapping[str, Any], tuple[tuple[int, int], ...]]] = {
    "unet": ("UNet2DConditionModel", UNET, ((1, 64), (4, 16))),
    "vae": ("AutoencoderKL", VAE, ((1, 32), (4, 16))),
    "little-unet": ("UNet2DConditionModel", LITTLE_UNET, ((1, 32), (2, 16))),
    "little-vae": ("AutoencoderKL", LITTLE_VAE, ((1, 8), (2, 4))),
}
KERNELS = pytest.mark.cpu_isa
SIZED = ["unet", "vae", pytest.param("little-unet", marks=KERNELS), pytest.param("little-vae", marks=KERNELS)]


def allocated(call: Callable[[], object]) -> int:
    """Give the most bytes that torch's allocator holds at one time during the second run of a call, above its start."""
    with torch.no_grad():
        call()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            _kept = call()
    events = (event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]")
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def asked(net: Any, rows: int, side: int) -> Callable[[], object]:
    """Make a call of a U-Net, or of a decoder, with inputs of its own."""
    place = next(net.parameters())
    how: dict[str, Any] = {"device": place.device, "dtype": place.dtype}

    def call() -> object:
        for module in net.modules():
            if isinstance(module, TextLinear):
                module._output = None  # no cached output counts
        x = torch.zeros(rows, 4, side, side, **how)
        if type(net).__name__ == "AutoencoderKL":
            return net.decode(x, return_dict=False)
        return net(x, torch.zeros(rows, **how), torch.zeros(rows, TIMES, CONTEXT, **how), return_dict=False)

    return call


def filled(net: nn.Module) -> nn.Module:
    made = net.to_empty(device="cpu")
    for value in made.parameters():
        nn.init.normal_(value, std=0.02)
    return made


def copied(net: nn.Module) -> list[Tensor]:
    layers = (module for module in net.modules() if isinstance(module, PackedLinear | PackedConv2d))
    return [layer.weight for layer in layers if layer.weight.numel() >= LEAST and layer.weight.dtype in DTYPES]


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quick", [False, True])
def test_a_network_of_diffusers_peaks_where_it_is_said_to(name: str, dtype: torch.dtype, quick: bool) -> None:
    kind, config, extents = NETS[name]
    net = empty(kind, config, "test").to("meta").to(dtype)
    if quick:
        pack(net)
    kernels = Kernels("cpu", kept(copied(net)))
    expected = [cost(asked(net, rows, side), kernels).peak for rows, side in extents]
    release(net)
    real = filled(net)
    for (rows, side), peak in zip(extents, expected, strict=True):
        assert peak == pytest.approx(allocated(asked(real, rows, side)), rel=0.15), (rows, side)


@cache
def emoji() -> tuple[Pipeline, Pipeline]:
    return meta("emoji"), load("emoji")


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=KERNELS)])
def test_the_embedded_model_peaks_where_it_is_said_to(rows: int, weight: float, dtype: str) -> None:
    blank, real = emoji()
    plan = real.plan("", guidance_scale=weight, dtype=dtype).settings
    encoder = real.text_encoder
    assert encoder is not None
    conds = (encoder([""])[0], *((encoder.negative(""),) if plan.guided else ()))
    batch, shape = Batch(real, [Row(plan, PromptRows((conds,)))] * rows), (rows, *shape_of(real, plan))
    calls: dict[str, Callable[[], object]] = {
        "text": lambda: encoder([""]),
        "step": lambda: batch(torch.zeros(shape), [1.0] * rows, [0] * rows, [0.0] * rows),
        "decoding": lambda: real.space.decode(torch.zeros(shape)),
    }
    found = estimate_memory(blank, plan, rows, rows)
    assert [stage.name for stage in found.stages] == list(calls)
    for stage in found.stages:
        assert stage.cost.peak == pytest.approx(allocated(calls[stage.name]), rel=0.15), stage.name
    parameters = sum(value.numel() for net in real.networks().values() for value in net.parameters())
    assert sum(found.weights.values()) == pytest.approx(4 * parameters, rel=0.01)


def test_tensors_count_while_something_holds_them() -> None:
    a_thousand = {"size": (250,), "device": "meta"}

    def chain() -> Tensor:
        x = torch.empty(**a_thousand)
        for _ in range(5):
            x = x + 1  # two at a time
        return x

    def held() -> list[Tensor]:
        return [torch.empty(**a_thousand) for _ in range(5)]

    def viewed() -> Tensor:
        return torch.empty(**a_thousand).view(25, 10).t()[2:].add_(1).mul_(2)

    weight = torch.empty(250, 250, device="meta")
    assert [cost(call).peak for call in (chain, held, viewed)] == [2000, 5000, 1000]
    assert cost(lambda: weight.t().mul_(2)[3]).peak == 0
    assert cost(lambda: torch.empty(10, 250, device="meta") @ weight.t()).peak == 20_000


def test_operations_are_those_of_products() -> None:
    linear = nn.Linear(30, 50, device="meta")
    assert cost(lambda: linear(torch.empty(7, 30, device="meta"))).flops == 2 * 7 * 30 * 50
    conv = nn.Conv2d(3, 8, 3, padding=1, device="meta")
    assert cost(lambda: conv(torch.empty(2, 3, 16, 16, device="meta"))).flops == 2 * 2 * 16 * 16 * 27 * 8


def test_attention_makes_no_table_of_scores() -> None:
    q = torch.empty(2, 4, 4096, 32, device="meta")
    found = cost(lambda: nn.functional.scaled_dot_product_attention(q, q, q))
    assert found.flops == 2 * 2 * 4 * 4096**2 * (32 + 32)
    assert found.peak < 3 * q.numel() * 4 < 4 * 2 * 4 * 4096**2 / 10


def test_other_devices_have_no_workspace_of_onednn() -> None:
    conv = nn.Conv2d(64, 64, 3, padding=1, device="meta")
    x = torch.empty(1, 64, 64, 64, device="meta")
    answer = x.numel() * 4
    assert cost(lambda: conv(x), Kernels("cuda")).peak == answer
    assert cost(lambda: conv(x), Kernels("cpu")).peak > 2 * answer


def test_what_asks_for_values_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be estimated without the weights"):
        cost(lambda: torch.empty(3, device="meta").nonzero())
    with pytest.raises(InputError, match="of its own"):
        cost(lambda: (_ for _ in ()).throw(InputError("of its own")))


def test_questions_about_values_are_answered_as_if_all_were_alike() -> None:
    x = torch.empty(3, device="meta")
    answers: list[object] = []
    cost(lambda: answers.extend([bool((x > 0).all()), bool((x > 0).any()), bool(torch.tensor([0.0, 1.0]).all())]))
    assert answers == [True, False, False]


def test_what_is_needed_is_the_most_that_is_held_at_once() -> None:
    stages = (
        MemoryStage("text", Cost(peak=500), calls=2),
        MemoryStage("step", Cost(peak=50), calls=20, copies=100),
        MemoryStage("decoding", Cost(peak=200), calls=1, copies=30),
    )
    found = MemoryEstimate({"net": 1000, "text": 10}, stages, batch=1, dtype="float32", program=7)
    assert found.needed == 7 + 1010 + 500
    late = replace(found, stages=stages[1:])
    assert late.needed == 7 + 1010 + 130 + 200
    assert late.fits(1340)
    assert not late.fits(1339)
    assert late.fits(None)


def test_a_smaller_batch_needs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    blank, _ = emoji()
    plan = blank.plan("", n=8).settings
    whole = estimate_memory(blank, plan, samples=8, batch=8)
    less = list(budgets.smaller(blank, plan, whole, samples=8))
    assert [one.batch for one in less] == [4, 2, 1]
    peaks = [one.stages[1].cost.peak for one in (whole, *less)]
    assert peaks == sorted(peaks, reverse=True)
    assert [one.stages[1].calls for one in less] == [count * whole.stages[1].calls for count in (2, 4, 8)]
