"""An adapter in training: it starts from an adapter of any layout, and is float32 beside layers of any dtype."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor, nn

from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LowRank
from unnoise.adapters.lora.read import Adapter, layers_of, read
from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import Layout, write
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

TARGETS = ("attention", "convolution", "text")


@pytest.fixture(scope="module")
def base() -> Pipeline:
    return tiny.pipeline()


def lora(base: Pipeline, rank: int = 4, dora: bool = False, targets: tuple[str, ...] = TARGETS) -> TrainableLora:
    torch.manual_seed(rank)
    return TrainableLora(base.adaptable(), select_layers(base.adaptable(), targets), rank, 2.0, dora=dora)


def random(base: Pipeline, dora: bool = False) -> Adapter:
    made = lora(base, dora=dora)
    for parameter in (*made.up, *made.magnitude):
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.1)
    return Adapter("first", made.deltas())


def changes(base: Pipeline, deltas: dict[str, Delta]) -> dict[str, Tensor]:
    layers = layers_of(base, deltas)
    return {name: delta.change(layers[name].weight) for name, delta in deltas.items()}


@pytest.mark.parametrize(
    ("layout", "from_dora", "dora"),
    [
        ("peft", False, False),
        ("kohya", False, False),
        ("peft", True, True),
        ("kohya", True, True),
        ("peft", False, True),
    ],
)
def test_it_starts_from_the_change_of_a_file(
    base: Pipeline, tmp_path: Path, layout: Layout, from_dora: bool, dora: bool
) -> None:
    first = random(base, from_dora)
    write(tmp_path / "first.safetensors", first, layout, torch.float32)
    started = lora(base, dora=dora)
    started.start_from(read(tmp_path / "first.safetensors", base).deltas, "first")
    wanted, found = changes(base, dict(first.deltas)), changes(base, started.deltas())
    assert wanted.keys() == found.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def test_layers_that_a_file_lacks_start_at_the_base(base: Pipeline) -> None:
    first = random(base)
    some = {name: delta for name, delta in first.deltas.items() if name.startswith("net.")}
    started = lora(base)
    started.start_from(some, "some")
    found = changes(base, started.deltas())
    assert [name for name, change in found.items() if bool(change.any())] == list(some)
    assert len(some) < len(found)


@pytest.mark.parametrize(
    ("made", "change", "message"),
    [
        ({"rank": 2}, None, r"first: net\..*: rank 4, and the recipe has 2; set rank = 4"),
        ({"targets": ("attention",)}, None, r"first: changes \d+ layers that targets leaves out, such as net\."),
        ({}, lambda low: Dora(low, torch.ones(len(low.up))), "a DoRA; set dora = true"),
        ({}, lambda low: FullDelta(low.up @ low.down.flatten(1)), "a FullDelta; a training starts from a LoRA"),
    ],
)
def test_an_adapter_that_does_not_fit_the_recipe_is_refused(
    base: Pipeline, made: dict[str, object], change: object, message: str
) -> None:
    deltas = random(base).deltas
    if callable(change):
        deltas = {name: change(delta) for name, delta in deltas.items()}
    with pytest.raises(InputError, match=message):
        lora(base, **made).start_from(deltas, "first")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("layer", [nn.Linear(8, 8), nn.Conv2d(8, 8, 3, padding=1)])
def test_it_is_float32_beside_a_narrow_layer(dtype: torch.dtype, dora: bool, layer: nn.Module) -> None:
    x = torch.randn(2, 8, 6, 6) if isinstance(layer, nn.Conv2d) else torch.randn(2, 8)
    found = []
    for kind in (torch.float32, dtype):
        roots = {"net": nn.Sequential(layer.to(kind).requires_grad_(False))}
        torch.manual_seed(0)
        made = TrainableLora(roots, ["net.0"], 3, 3.0, dora=dora)
        nn.init.normal_(made.up[0], std=0.1)
        with made.on():
            out = roots["net"](x.to(kind))
        assert out.dtype == kind
        out.float().square().mean().backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
        assert len(gradients) == (3 if dora else 2)
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        found.append((out.detach().float(), *gradients))
    for exact, narrow in zip(*found, strict=True):
        assert torch.allclose(exact, narrow, atol=0.03 * float(exact.abs().max()))
    assert isinstance(made.deltas()["net.0"], Dora if dora else LowRank)
