"""Layers that keep blocked weights and what they made of the text: the same answers, and none that is out of date."""

import copy
import pickle

import pytest
import torch
from torch import nn

from integrations import test_foreign_sd
from unnoise.integrations.diffusers import onednn as packed
from unnoise.integrations.diffusers.onednn import PackedConv2d, PackedLinear, TextLinear, pack, release

WIDE = {"block_out_channels": (64, 128), "cross_attention_dim": 768}


def pair(dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    plain = test_foreign_sd.unet(**WIDE).to(dtype)
    return plain, pack(copy.deepcopy(plain))


def ask(net: nn.Module, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed)).to(tokens.dtype)
    with torch.no_grad():
        return net(x, torch.tensor([500.0, 20.0]), tokens)[0]


def text(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 77, 768, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)], ids=str)
def test_answers_are_the_same(dtype: torch.dtype, tolerance: float) -> None:
    plain, quick = pair(dtype)
    tokens = text(1, dtype)
    for seed in range(3):
        torch.testing.assert_close(ask(quick, tokens, seed), ask(plain, tokens, seed), atol=tolerance, rtol=tolerance)
    kinds = {type(module) for module in quick.modules()}
    assert kinds >= {PackedLinear, PackedConv2d, TextLinear}
    assert any(module._blocked is not None for module in quick.modules() if isinstance(module, PackedConv2d))


def test_names_and_weights_stay_what_they_are() -> None:
    plain, quick = pair(torch.float32)
    ask(quick, text(1))
    assert quick.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in quick.state_dict().items())
    assert all(isinstance(module, nn.Linear | nn.Conv2d) for module in quick.modules() if hasattr(module, "_blocked"))
    again = pickle.loads(pickle.dumps(quick))
    torch.testing.assert_close(ask(again, text(1)), ask(plain, text(1)), atol=1e-5, rtol=1e-5)


def test_another_text_is_read_also_in_the_same_place() -> None:
    plain, quick = pair(torch.float32)
    tokens = text(1)
    first = ask(quick, tokens)
    tokens.copy_(text(2))
    second = ask(quick, tokens)
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(second, ask(plain, tokens), atol=1e-5, rtol=1e-5)
    for seed in range(3, 8):  # each is freed before the next is made, so they may come to lie in one place
        torch.testing.assert_close(ask(quick, text(seed)), ask(plain, text(seed)), atol=1e-5, rtol=1e-5)


def test_text_is_read_once_for_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    _, quick = pair(torch.float32)
    layer = next(module for module in quick.modules() if isinstance(module, TextLinear))
    calls: list[int] = []
    monkeypatch.setattr(PackedLinear, "forward", lambda self, x: calls.append(1) or nn.Linear.forward(self, x))
    tokens = text(1)
    with torch.no_grad():
        assert layer(tokens) is layer(tokens[:])
        assert layer(tokens) is layer(tokens.clone())  # as where each step brings the text to the dtype of the weights
    assert len(calls) == 1


def test_weights_that_change_are_seen() -> None:
    plain, quick = pair(torch.float32)
    tokens = text(1)
    ask(quick, tokens)
    with torch.no_grad():
        for net in (plain, quick):
            for parameter in net.parameters():
                parameter.mul_(1.05)
    torch.testing.assert_close(ask(quick, tokens), ask(plain, tokens), atol=1e-4, rtol=1e-4)
    fresh = {name: value.clone() * 0.9 for name, value in plain.state_dict().items()}
    for net in (plain, quick):
        net.load_state_dict(fresh, assign=True)
    torch.testing.assert_close(ask(quick, tokens), ask(plain, tokens), atol=1e-4, rtol=1e-4)


def test_gradients_and_autocast_are_torchs_own() -> None:
    plain, quick = pair(torch.float32)
    x, tokens = torch.randn(1, 4, 8, 8, requires_grad=True), text(1)[:1]
    found = [torch.autograd.grad(net(x, torch.tensor([5.0]), tokens)[0].sum(), x)[0] for net in (plain, quick)]
    torch.testing.assert_close(*found)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        pairs = [net(x, torch.tensor([5.0]), tokens)[0] for net in (plain, quick)]
    torch.testing.assert_close(*pairs)


def test_other_sizes_and_numbers_of_rows() -> None:
    plain, quick = pair(torch.float32)
    with torch.no_grad():
        for rows, side in ((2, 8), (1, 16), (3, 8), (2, 12)):
            x, tokens = torch.randn(rows, 4, side, side), torch.randn(rows, 77, 768)
            one, other = (net(x, torch.full((rows,), 9.0), tokens)[0] for net in (plain, quick))
            torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["attn2.to_k", "attn1.to_k", "conv1"])
def test_weights_in_the_place_of_others_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 0)
    plain, quick = pair(torch.float32)
    layers = [next(module for path, module in net.named_modules() if path.endswith(name)) for net in (plain, quick)]
    x = text(1)[..., : layers[0].weight.shape[1]] if "conv" not in name else torch.randn(2, 64, 8, 8)
    with torch.no_grad():
        layers[1](x)
        weight = torch.randn_like(layers[0].weight)
        for layer in layers:
            layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
            layer.bias = nn.Parameter(torch.zeros(len(weight)), requires_grad=False)
        torch.testing.assert_close(layers[1](x), layers[0](x), atol=1e-4, rtol=1e-4)
        for layer in layers:
            layer.bias.add_(1.0)
        torch.testing.assert_close(layers[1](x), layers[0](x), atol=1e-4, rtol=1e-4)
        layers[1].weight.data.mul_(2.0)  # torch does not count this as a change
        release(quick)
        layers[0].weight.mul_(2.0)
        torch.testing.assert_close(layers[1](x), layers[0](x), atol=1e-4, rtol=1e-4)


def test_nothing_is_kept_over_a_change_of_dtype_or_after_release() -> None:
    for drop in (release, lambda net: net.to(torch.bfloat16).to(torch.float32)):
        _, quick = pair(torch.float32)
        ask(quick, text(1))
        layers = [module for module in quick.modules() if isinstance(module, PackedLinear | PackedConv2d)]
        assert any(layer._blocked is not None for layer in layers)
        drop(quick)
        assert all(layer._blocked is None and getattr(layer, "_output", None) is None for layer in layers)


def test_inference_mode_and_compiled_layers_are_torchs_own() -> None:
    with torch.inference_mode():
        plain, quick = pair(torch.float32)
        torch.testing.assert_close(ask(quick, text(1)), ask(plain, text(1)))
    plain, quick = pair(torch.float32)
    for kind in (PackedLinear, TextLinear):
        layer = next(module for module in quick.modules() if type(module) is kind)
        x = text(1)[..., : layer.in_features]
        with torch.no_grad():
            compiled = torch.compile(layer, backend="eager", fullgraph=True)
            torch.testing.assert_close(compiled(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_numbers_that_onednn_lacks_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "DTYPES", (torch.float32,))
    plain, quick = pair(torch.bfloat16)
    assert torch.equal(ask(quick, text(1, torch.bfloat16)), ask(plain, text(1, torch.bfloat16)))
    assert all(getattr(module, "_blocked", None) is None for module in quick.modules())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert packed._supported() == ()
