"""Networks: every rank, effective conditioning, masked tokens without effect, and output sizes."""

import pytest
import torch

from unnoise.diffusion.conditioning import Conditioning
from unnoise.nets.autoencoder import Autoencoder
from unnoise.nets.blocks import time_features
from unnoise.nets.dit import DiT
from unnoise.nets.text import TextEncoder
from unnoise.nets.unet import UNet

NETS = {
    "unet": lambda rank: UNet(4, [32, 64], [1, 2], [0, 2], context=16, vector=8, labels=3, rank=rank),
    "dit": lambda rank: DiT(4, 64, 2, context=16, vector=8, labels=3, rank=rank),
}


def randomized(net: torch.nn.Module) -> torch.nn.Module:
    """Set parameters that start at zero to random values."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def full_cond(batch: int = 2) -> Conditioning:
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:batch]
    return Conditioning(torch.randn(batch, 5, 16), mask, torch.randn(batch, 8), torch.arange(batch))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_net_keeps_the_shape_of_any_rank(name: str, rank: int) -> None:
    net = randomized(NETS[name](rank))
    x = torch.randn(2, 4, *[8, 4, 6][:rank])
    assert net(x, torch.rand(2), full_cond()).shape == x.shape


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("field", ["tokens", "vector", "label"])
def test_every_field_of_the_conditioning_acts(name: str, field: str) -> None:
    net = randomized(NETS[name](2))
    x, time, cond = torch.randn(2, 4, 8, 8), torch.rand(2), full_cond()
    other = {"tokens": torch.randn(2, 5, 16), "vector": torch.randn(2, 8), "label": torch.tensor([2, 2])}
    changed = Conditioning(**{**cond.given(), field: other[field]})
    assert not torch.allclose(net(x, time, cond), net(x, time, changed))


@pytest.mark.parametrize("name", NETS)
def test_masked_tokens_have_no_effect(name: str) -> None:
    net = randomized(NETS[name](2))
    x, time, cond = torch.randn(2, 4, 8, 8), torch.rand(2), full_cond()
    tokens = cond.tokens.clone()
    tokens[1, 3:] = 1e3
    hidden = Conditioning(tokens, cond.mask, cond.vector, cond.label)
    torch.testing.assert_close(net(x, time, cond), net(x, time, hidden))


@pytest.mark.parametrize("name", NETS)
def test_a_fresh_net_predicts_zero(name: str) -> None:
    assert not NETS[name](2)(torch.randn(2, 4, 8, 8), torch.rand(2), full_cond()).any()


def test_whole_inverts_patches() -> None:
    for rank in (1, 2, 3):
        net, x = DiT(4, 64, 1, rank=rank), torch.randn(2, 4, *[8, 4, 6][:rank])
        assert torch.equal(net.whole(net.patches(x), x.shape), x)


def test_a_dit_depends_on_the_positions_of_patches() -> None:
    net, x = randomized(DiT(4, 64, 2)), torch.randn(1, 4, 8, 8)
    moved = net(x.roll(2, dims=3), torch.rand(1), Conditioning()).roll(-2, dims=3)
    assert not torch.allclose(net(x, torch.rand(1), Conditioning()), moved)


def test_the_autoencoder_restores_the_size() -> None:
    coder, data = Autoencoder(width=32, encode=1, decode=1), torch.rand(2, 3, 16, 24)
    mean, logvar = coder.encode(data)
    assert mean.shape == logvar.shape == (2, 4, 4, 6)
    assert coder.decode(mean).shape == data.shape


def test_the_noise_of_the_autoencoder_is_scaled_by_its_variance() -> None:
    coder, data = Autoencoder(width=32, encode=1, decode=1), torch.rand(2, 3, 16, 16)
    quiet, mean, _ = coder(data, torch.zeros(2, 4, 4, 4))
    torch.testing.assert_close(quiet, coder.decode(mean))


def test_text_features_do_not_depend_on_padding() -> None:
    net = randomized(TextEncoder(50, 16, 2, 2, 8))
    ids = torch.tensor([[0, 7, 9]])
    short = net(ids, torch.ones(1, 3, dtype=torch.bool))
    padded = net(torch.tensor([[0, 7, 9, 3, 3]]), torch.tensor([[True] * 3 + [False] * 2]))
    torch.testing.assert_close(short.vector, padded.vector)
    torch.testing.assert_close(short.tokens, padded.tokens[:, :3])


def test_text_features_depend_on_the_order_of_words() -> None:
    net, mask = randomized(TextEncoder(50, 16, 2, 2, 8)), torch.ones(1, 3, dtype=torch.bool)
    there, back = net(torch.tensor([[0, 7, 9]]), mask), net(torch.tensor([[0, 9, 7]]), mask)
    assert not torch.allclose(there.vector, back.vector, atol=1e-3)


def test_time_features_differ_at_near_times_and_are_bounded() -> None:
    features = time_features(torch.linspace(0, 1, 1001), 64)
    assert features.abs().max() <= 1
    assert (features[1:] - features[:-1]).norm(dim=1).min() > 0.1
