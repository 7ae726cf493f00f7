"""Adapters are applied by hooks and merged as defined, with scales of their own for each request and each row."""

import threading
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LoHa, LoKr, LowRank
from unnoise.adapters.lora.hooks import ActiveAdapters, PerSampleLora
from unnoise.adapters.lora.inject import eject, inject, injected
from unnoise.adapters.lora.rank import extracted, nearest_low, resized
from unnoise.adapters.lora.read import Adapter, layers_of, read
from unnoise.adapters.lora.targets import layers, select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import write
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

KINDS = ("low", "loha", "tucker", "lokr", "full", "dora")


def delta(kind: str, weight: Tensor, generator: torch.Generator) -> Delta:
    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    out, into, kernel = len(weight), weight[0].numel(), weight.shape[2:]
    if kind == "low":
        return LowRank(draw(3, *weight.shape[1:]), draw(out, 3), 0.7)
    if kind == "loha":
        return LoHa((draw(out, 2), draw(out, 2)), (draw(2, into), draw(2, into)), None, 0.5)
    if kind == "tucker" and kernel:
        cores = draw(2, 2, *kernel), draw(2, 2, *kernel)
        return LoHa((draw(2, out), draw(2, out)), (draw(2, weight.shape[1]), draw(2, weight.shape[1])), cores, 0.5)
    if kind == "lokr":
        return LoKr(draw(2, 1), draw(out // 2, *weight.shape[1:]), 0.5)
    if kind == "dora":
        return Dora(delta("low", weight, generator), weight.flatten(1).norm(dim=1) * 1.2)
    return FullDelta(draw(*weight.shape))


def adapter(pipeline: Pipeline, kind: str = "low", seed: int = 0, roots: tuple[str, ...] = ("net", "text")) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    found = {
        f"{root}.{path}": delta(kind, module.weight, generator)  # type: ignore[arg-type]
        for root, net in pipeline.adaptable().items()
        for path, module in layers(net)
        if root in roots
    }
    return Adapter(f"{kind}-{seed}", found)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("base") / "tiny.safetensors")


def weights(pipeline: Pipeline) -> dict[str, Tensor]:
    return {
        f"{role}.{name}": value.clone()
        for role, net in pipeline.networks().items()
        for name, value in net.state_dict().items()
    }


def drawn(pipeline: Pipeline, *adapters: tuple[Adapter, float]) -> Tensor:
    return pipeline.generate("a cat", seed=3, size=16, steps=3, lora=dict(adapters))[0].x0


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_and_merged_weights_agree(base: Pipeline, kind: str) -> None:
    """Branches at the layers and changed weights compute the same."""
    first, second = adapter(base, kind, 1), adapter(base, "low", 2)
    before, plain = weights(base), drawn(base)
    hooked = drawn(base, (first, 0.6), (second, -0.3))
    held = layers_of(base, first.deltas)
    expected = {name: module.weight.clone() for name, module in held.items()}
    for one, scale in ((first, 0.6), (second, -0.3)):
        for name, module in held.items():
            expected[name] += scale * one.deltas[name].change(module.weight)
    with injected(base, [(first, 0.6), (second, -0.3)]):
        for name, module in layers_of(base, first.deltas).items():
            assert torch.allclose(module.weight, expected[name], atol=1e-5)
        assert (drawn(base) - hooked).abs().max() < 2e-4
    assert (hooked - plain).abs().max() > 0.01
    after = weights(base)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(drawn(base), plain)


def test_ejecting_restores_the_same_tensors(base: Pipeline) -> None:
    one = adapter(base, seed=4)
    parameters = {name: module.weight for name, module in layers_of(base, one.deltas).items()}
    before = inject(base, [(one, 1.0)])
    assert all(module.weight is not parameters[name] for name, module in layers_of(base, one.deltas).items())
    eject(before)
    assert all(module.weight is parameters[name] for name, module in layers_of(base, one.deltas).items())


def test_rows_of_one_call_have_scales_of_their_own(base: Pipeline) -> None:
    """One call gives each row the output that it has alone with its adapters."""
    first, second = adapter(base, "low", 5, ("net",)), adapter(base, "loha", 6, ("net",))
    active = ActiveAdapters(base, [(first, 1.0), (second, 1.0)])
    model = Denoiser(PerSampleLora(base.denoiser.net, active), base.denoiser.process, base.denoiser.kind)
    assert base.text_encoder is not None
    cond = base.text_encoder(["a cat"])[0]
    x, sigma = torch.randn(4, *base.space.shape(16, 16), generator=torch.Generator().manual_seed(1)), torch.ones(4)
    amounts = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.3, -0.7]])
    given = cond.rows([0] * 4)
    scaled = Conditioning(tokens=given.tokens, mask=given.mask, vector=given.vector, adapter_scales=amounts)
    with torch.no_grad():
        with active.on():
            together = model(x, sigma, scaled)
        for row, (one, other) in enumerate(amounts.tolist()):
            with ActiveAdapters(base, [(first, one), (second, other)]).on():
                alone = base.denoiser(x[row : row + 1], sigma[:1], cond)
            assert (together[row] - alone[0]).abs().max() < 1e-4


def test_other_threads_are_not_affected(base: Pipeline) -> None:
    one = adapter(base, seed=7)
    plain, found = drawn(base), []
    with ActiveAdapters(base, [(one, 1.0)]).on():
        thread = threading.Thread(target=lambda: found.append(drawn(base)))
        thread.start()
        thread.join()
        assert not torch.equal(drawn(base), plain)
    assert torch.equal(found[0], plain)


def test_no_hook_is_left_after_an_error(base: Pipeline) -> None:
    one = adapter(base, seed=8)
    plain = drawn(base)
    with pytest.raises(ZeroDivisionError), ActiveAdapters(base, [(one, 1.0)]).on():
        _ = 1 / 0
    assert not any(module._forward_hooks for net in base.networks().values() for module in net.modules())
    assert torch.equal(drawn(base), plain)


def test_the_metadata_of_an_image_has_its_adapters_and_it_is_drawn_again(base: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", adapter(base, seed=9), dtype=torch.float32)
    one = read(tmp_path / "one.safetensors", base)
    sample = base.generate("a cat", seed=3, size=16, steps=3, lora={one: 0.5})[0]
    (applied,) = sample.metadata.adapters
    assert (applied.name, applied.weight) == ("one.safetensors", 0.5)
    assert torch.equal(base.replay(sample.metadata, lora={one: 1.0}).x0, sample.x0)  # the metadata has the weight
    with pytest.raises(InputError, match=r"drawn with 'one\.safetensors'"):
        base.replay(sample.metadata)
    write(tmp_path / "two.safetensors", adapter(base, seed=10), dtype=torch.float32)
    with pytest.raises(InputError, match="give that file"):
        base.replay(sample.metadata, lora={read(tmp_path / "two.safetensors", base): 0.5})
    plain = base.generate("a cat", seed=3, size=16, steps=3)[0]
    with pytest.raises(InputError, match="lora: 1 given, and the sample was drawn with 0"):
        base.replay(plain.metadata, lora=one)


@pytest.mark.parametrize("dora", [False, True])
def test_the_trained_adapter_is_the_written_one(base: Pipeline, tmp_path: Path, dora: bool) -> None:
    """The branches in training and the adapter that is read from the file give the same output."""
    names = select_layers(base.adaptable(), ["attention", "convolution", "text"])
    torch.manual_seed(1)
    trained = TrainableLora(base.adaptable(), names, rank=4, alpha=2.0, dora=dora).eval()
    plain = drawn(base)
    with trained.on(), torch.no_grad():
        assert (drawn(base) - plain).abs().max() < 1e-4, "B starts at zero, and magnitudes at those of the base"
    for up in trained.up:
        torch.nn.init.normal_(up, std=0.2)
    with trained.on(), torch.no_grad():
        here = drawn(base)
    result = Adapter("l", trained.deltas(), about=LoraCard(base_from(base.card), "ink"))
    write(tmp_path / "l.safetensors", result, dtype=torch.float32)
    found = read(tmp_path / "l.safetensors", base)
    assert found.about is not None
    assert found.about.trigger == "ink"
    assert (drawn(base, (found, 1.0)) - here).abs().max() < 2e-4
    assert (here - plain).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_another_rank_is_the_nearest(base: Pipeline, kind: str) -> None:
    one = adapter(base, kind, 11, ("net",))
    full, low = resized(one, base, 1024), resized(one, base, 2)
    held = layers_of(base, one.deltas)
    for name, delta_ in full.adapter.deltas.items():
        weight = held[name].weight
        assert torch.allclose(delta_.change(weight), one.deltas[name].change(weight), atol=1e-4)
    assert full.share == pytest.approx(1.0)
    assert 0 < low.share < 1
    assert all(isinstance(delta_, LowRank) and delta_.rank <= 2 for delta_ in low.adapter.deltas.values())


def test_the_nearest_of_a_rank_is_no_further_than_any_other() -> None:
    generator = torch.Generator().manual_seed(3)
    change = torch.randn(8, 6, generator=generator)
    best, share = nearest_low(change, 2)
    gap = (best.change(change) - change).square().sum()
    assert float(gap) == pytest.approx((1 - share) * float(change.square().sum()), rel=1e-4)
    for _ in range(50):
        noisy = LowRank(best.down + 0.1 * torch.randn(2, 6, generator=generator), best.up)
        assert (noisy.change(change) - change).square().sum() >= gap


def test_a_merged_adapter_is_extracted(tmp_path: Path) -> None:
    first, second = tiny.saved(tmp_path / "a.safetensors"), tiny.saved(tmp_path / "b.safetensors")
    one = adapter(first, "low", 12)
    inject(second, [(one, 0.5)])
    found = extracted(first, second, 3)
    assert found.share == pytest.approx(1.0, abs=1e-4)
    held = layers_of(first, one.deltas)
    for name, delta_ in found.adapter.deltas.items():
        weight = held[name].weight
        assert torch.allclose(delta_.change(weight), 0.5 * one.deltas[name].change(weight), atol=1e-3)
    with pytest.raises(InputError, match="have the same weights in every layer"):
        extracted(first, first, 3)


@pytest.mark.parametrize("layout", ["peft", "kohya"])
def test_layouts_store_the_same(base: Pipeline, tmp_path: Path, layout: str) -> None:
    for kind in KINDS if layout == "kohya" else ("low", "dora"):
        one = adapter(base, kind, 13)
        write(tmp_path / f"{kind}.safetensors", one, layout, torch.float32)  # type: ignore[arg-type]
        again = read(tmp_path / f"{kind}.safetensors", base)
        held = layers_of(base, one.deltas)
        for name, delta_ in one.deltas.items():
            weight = held[name].weight
            assert torch.allclose(again.deltas[name].change(weight), delta_.change(weight), atol=1e-5), (kind, name)
    with pytest.raises(InputError, match="layout 'other'"):
        write(tmp_path / "x.safetensors", one, "other")  # type: ignore[arg-type]
    if layout == "peft":
        with pytest.raises(InputError, match="which this layout has no names for"):
            write(tmp_path / "x.safetensors", adapter(base, "loha"), "peft")
    assert not (tmp_path / "x.safetensors").exists()
