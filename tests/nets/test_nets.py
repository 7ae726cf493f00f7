"""Networks: every rank, effective conditioning, masked tokens without effect, and output sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import EDM, VE, VP, Angle, Flow
from unnoise.errors import InputError
from unnoise.nets.autoencoder import Autoencoder
from unnoise.nets.blocks import fold, guidance_clock, time_features, unfold, unit_features
from unnoise.nets.controlnet import ControlledUNet, ControlNet
from unnoise.nets.dit import DiT
from unnoise.nets.text import TextEncoder
from unnoise.nets.unet import UNet

NETS = {
    "unet": lambda rank: UNet(4, [32, 64], [1, 2], [0, 2], context=16, vector=8, labels=3, rank=rank),
    "folded": lambda rank: UNet(4, [32, 64], [1, 2], [0, 2], context=16, vector=8, labels=3, patch=2, rank=rank),
    "mean": lambda rank: UNet(4, [32, 64], [1, 2], [0, 2], 16, 8, labels=3, mean=[8, 4, 12][:rank], patch=2, rank=rank),
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
    x = torch.randn(2, 4, *[8, 4, 12][:rank])
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


def test_a_unet_reads_the_mean_beside_x() -> None:
    """Also of other sizes than its own, and only by the vector of the prompt."""
    net = UNet(4, [32, 64], [1, 1], [0, 0], vector=8, mean=[8, 8])
    x, time, cond = torch.randn(2, 4, 8, 8), torch.rand(2), Conditioning(vector=torch.randn(2, 8))
    randomized(net)
    assert net.mean is not None
    assert torch.equal(net.mean.beside(x, cond.vector), torch.cat([x, net.mean(cond.vector)], dim=1))
    before = net(x, time, cond)
    torch.nn.init.normal_(net.mean.leave.bias)
    assert not torch.allclose(net(x, time, cond), before)
    wide = torch.randn(2, 4, 16, 8)
    resized = F.interpolate(net.mean(cond.vector), (16, 8), mode="bilinear")
    assert torch.equal(net.mean.beside(wide, cond.vector)[:, 4:], resized)
    with pytest.raises(InputError, match="cond without vector"):
        net(x, time, Conditioning())


def test_wrong_means_are_refused() -> None:
    with pytest.raises(InputError, match=r"mean \[8, 8\]: predicted from the vector of the prompt; set vector"):
        UNet(4, [32, 64], [1, 1], [0, 0], context=8, mean=[8, 8])
    with pytest.raises(InputError, match=r"mean \[8\]: 2 sizes, one a dimension of x0"):
        UNet(4, [32, 64], [1, 1], [0, 0], vector=8, mean=[8])
    with pytest.raises(InputError, match=r"mean\[1\] 0: at least 1"):
        UNet(4, [32, 64], [1, 1], [0, 0], vector=8, mean=[8, 0])


def test_whole_inverts_patches() -> None:
    for rank in (1, 2, 3):
        net, x = DiT(4, 64, 1, rank=rank), torch.randn(2, 4, *[8, 4, 6][:rank])
        assert torch.equal(net.whole(net.patches(x), x.shape[2:]), x)


def test_unfold_inverts_fold() -> None:
    for rank in (1, 2, 3):
        x = torch.randn(2, 5, *[8, 4, 6][:rank])
        folded = fold(x, 2)
        assert folded.shape == (2, 5 * 2**rank, *[4, 2, 3][:rank])
        assert torch.equal(unfold(folded, 2), x)
    x = torch.randn(2, 5, 6, 9)
    assert torch.equal(fold(x, 3), F.pixel_unshuffle(x, 3))
    assert fold(x, 1) is unfold(x, 1) is x


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


def test_a_unit_clock_is_the_same_level_for_every_process() -> None:
    """sigma/(1 + sigma), whatever the time of the process is; the derivative by it is bounded."""

    class Clocked(nn.Module):
        unit_clock = True

        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            self.time = time
            return x

    net, sigma = Clocked(), torch.tensor([0.1, 1.0, 9.0])
    for process in (Flow(), Flow(3.0), VP(), EDM(0.5), VE(), Angle()):
        Denoiser(net, process, "v").predict(torch.zeros(3, 2), sigma, Conditioning())
        torch.testing.assert_close(net.time, sigma / (1 + sigma), atol=1e-4, rtol=1e-4)
    assert torch.equal(guidance_clock(torch.tensor([0.0, 100.0])), torch.tensor([0.0, 1.0]))
    assert unit_features(torch.ones(1), 8)[0, 4:].asin().isfinite().all()


@pytest.mark.parametrize("kind", [UNet, DiT])
def test_new_inputs_start_without_effect_and_learn(kind: type[nn.Module]) -> None:
    sizes = {"widths": [32, 64], "depths": [1, 1], "heads": [0, 2]} if kind is UNet else {"width": 64, "depth": 1}
    torch.manual_seed(0)
    plain = kind(4, **sizes, clock="unit")
    more = kind(4, **sizes, clock="unit", guidance=True, end=True)
    for net in (plain, more):
        for name, parameter in net.named_parameters():
            if "embed.guidance" not in name and "embed.end" not in name:
                torch.manual_seed(len(name))
                nn.init.normal_(parameter, std=0.1)
    x, time = torch.randn(2, 4, 8, 8), torch.tensor([0.2, 0.9])
    given = Conditioning(distilled_guidance=torch.tensor([1.5, 7.0]), end=torch.tensor([0.1, 0.3]))
    out = more(x, time, given)
    assert torch.equal(out, plain(x, time, Conditioning()))
    out.square().mean().backward()
    for part in (more.embed.guidance, more.embed.end):  # type: ignore[union-attr]
        assert part.weight.grad.abs().max() > 0  # type: ignore[union-attr]
        nn.init.normal_(part.weight)  # type: ignore[arg-type]
    assert not torch.equal(more(x, time, given), out)
    assert plain.unit_clock
    assert not kind(4, **sizes).unit_clock
    with pytest.raises(InputError, match="clock 'log': 'native' or 'unit'"):
        kind(4, **sizes, clock="log")


def test_a_control_net_takes_the_clock_of_its_unet() -> None:
    net = UNet(4, [32, 64], [1, 1], [0, 0], clock="unit")
    assert ControlledUNet(net, ControlNet([32, 64], 4, 16)).unit_clock


@pytest.mark.parametrize("kind", [UNet, DiT])
def test_equal_points_are_the_network_without_them(kind: type[nn.Module]) -> None:
    sizes = {"widths": [32, 64], "depths": [1, 1], "heads": [0, 2]} if kind is UNet else {"width": 64, "depth": 1}
    plain, more = randomized(kind(4, **sizes, end=True)), kind(4, **sizes, end=True, points=3)
    state = plain.state_dict()
    state |= {name: value.repeat(3, *[1] * (value.ndim - 1)) for name, value in state.items() if "leave." in name}
    more.load_state_dict(state)
    x, sigma, cond = torch.randn(2, 4, 8, 8), torch.tensor([0.5, 3.0]), Conditioning(end=torch.tensor([0.0, 0.4]))
    one, three = (Denoiser(net, Flow(), "v") for net in (plain, more))
    assert more(x, sigma, cond).shape == (2, 12, 8, 8)
    torch.testing.assert_close(three(x, sigma, cond), one(x, sigma, cond))
    jump = three.jump(x, sigma, cond)
    torch.testing.assert_close(jump.points, jump.points[:, :1].expand(-1, 3, -1, -1, -1))


def test_points_are_checked() -> None:
    for points in (0, 65, 2.0, True):
        with pytest.raises(InputError, match=f"points {points}: a whole number from 1 to 64"):
            DiT(4, 64, 1, end=True, points=points)
    with pytest.raises(InputError, match="points 4: of a network that takes the end of its jump; set end = true"):
        DiT(4, 64, 1, points=4)
    net = ControlledUNet(UNet(4, [32, 64], [1, 1], [0, 0], end=True, points=2), ControlNet([32, 64], 4, 16))
    assert (net.takes_end, net.points) == (True, 2)
