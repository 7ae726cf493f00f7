"""Layers that keep blocked weights and what they made of the text: the same answers, and none that is out of date."""

import copy
import pickle

import pytest
import torch
from files.foreign import test_foreign_sd
from torch import nn

from unnoise.files.foreign.packed import PackedConv2d, PackedLinear, TextLinear, quicken

WIDE = {"block_out_channels": (64, 128), "cross_attention_dim": 768}


def pair(dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    plain = test_foreign_sd.unet(**WIDE).to(dtype)
    return plain, quicken(copy.deepcopy(plain))


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
