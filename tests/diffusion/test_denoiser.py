"""Denoiser and Conditioning: exact in every frame and rank, the same alone and in a batch."""

import math

import pytest
import torch
from diffusion.mixture import Mixture, MixtureNet, mixture

from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.prediction import mix
from unnoise.diffusion.process import EDM, VE, VP, Flow, Process
from unnoise.errors import InputError
from unnoise.sampling.kinds import KINDS, Kind

PROCESSES: list[Process] = [
    VP(),
    VP("cosine", zero_snr=True),
    VE(0.001, 200),
    EDM(0.5, 0.001, 200),
    Flow(),
    Flow(3),
]
RANKS = ((2,), (3, 8), (3, 4, 5), (2, 3, 4, 5))


@pytest.mark.parametrize("shape", RANKS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_every_frame_kind_and_rank_gives_the_exact_posterior_mean(
    process: Process, kind: Kind, shape: tuple[int, ...]
) -> None:
    exact, made = mixture(shape), torch.Generator().manual_seed(1)
    sigma = torch.tensor([0.02, 0.3, 1.0, 20.0, 150.0], dtype=torch.float64)
    noise = torch.randn(5, *shape, generator=made, dtype=torch.float64)
    x = mix(exact.sample(5, made), noise, sigma)
    model = Denoiser(MixtureNet((exact,), process, kind), process, kind)
    torch.testing.assert_close(model(x, sigma, Conditioning()), exact.denoise(x, sigma), rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["x0", "v", "flow"])
@pytest.mark.parametrize("process", [Flow(), Flow(3), VP(zero_snr=True)], ids=repr)
def test_x0_of_pure_noise_is_the_mean(process: Process, kind: Kind) -> None:
    exact = mixture((3, 4))
    x, sigma = torch.randn(2, 3, 4, dtype=torch.float64), torch.full((2,), math.inf, dtype=torch.float64)
    x0 = Denoiser(MixtureNet((exact,), process, kind), process, kind)(x, sigma, Conditioning())
    mean = (exact.weights[:, None, None] * exact.means).sum(0)
    torch.testing.assert_close(x0, mean.expand_as(x0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", [VP(), VE(), EDM()], ids=repr)
def test_levels_above_sigma_max_are_clamped(process: Process, kind: Kind) -> None:
    exact = mixture((3,))
    model = Denoiser(MixtureNet((exact,), process, kind), process, kind)
    x, highest = torch.randn(2, 3, dtype=torch.float64), process.sigma_max
    predictions = [
        model(x, torch.full((2,), sigma, dtype=torch.float64), Conditioning()) for sigma in (highest, 3e3, math.inf)
    ]
    torch.testing.assert_close(predictions[0], exact.denoise(x, torch.full((2,), highest, dtype=torch.float64)))
    assert torch.equal(predictions[0], predictions[1])
    assert torch.equal(predictions[0], predictions[2])


def test_eps_from_pure_noise_is_refused() -> None:
    process = VP(zero_snr=True)
    model = Denoiser(MixtureNet((mixture((3,)),), process, "eps"), process, "eps")
    with pytest.raises(InputError, match="sigma inf"):
        model(torch.zeros(1, 3), torch.tensor([math.inf]), Conditioning())


class Noisy(torch.nn.Module):
    """Return arbitrary values."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Conditioning) -> torch.Tensor:
        assert time.isfinite().all()
        return (x.sin() + 3).bfloat16()


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_without_noise_x_is_returned_whatever_the_net_returns(process: Process, kind: Kind) -> None:
    x = torch.randn(2, 3, 4)
    assert torch.equal(Denoiser(Noisy(), process, kind)(x, torch.zeros(2), Conditioning()), x)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_a_sample_does_not_depend_on_its_batch(process: Process) -> None:
    exact = mixture((3, 4), torch.float32)
    other = Mixture(-exact.means, exact.stds, exact.weights)
    model = Denoiser(MixtureNet((exact, other), process, "v"), process, "v")
    x, sigma = torch.randn(4, 3, 4), torch.tensor([0.1, 5.0, 1.0, 100.0])
    cond = Conditioning(label=torch.tensor([0, 1, 1, 0]))
    together = model(x, sigma, cond)
    for i in range(4):
        alone = model(x[i : i + 1], sigma[i : i + 1], cond.rows([i]))
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=2e-6)


def test_bind_fixes_the_conditioning() -> None:
    exact = mixture((3,))
    other = Mixture(-exact.means, exact.stds, exact.weights)
    model = Denoiser(MixtureNet((exact, other), Flow(), "flow"), Flow(), "flow")
    x, sigma = torch.randn(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    expected = torch.stack([other.denoise(x, sigma)[0], exact.denoise(x, sigma)[1]])
    torch.testing.assert_close(model.bind(Conditioning(label=torch.tensor([1, 0])))(x, sigma), expected)


def test_a_float64_level_does_not_reach_a_float32_net() -> None:
    class Typed(torch.nn.Module):
        def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Conditioning) -> torch.Tensor:
            assert x.dtype == time.dtype == torch.float32
            return x

    for process in PROCESSES:
        x, sigma = torch.randn(2, 3), torch.ones(2, dtype=torch.float64)
        assert Denoiser(Typed(), process, "v")(x, sigma, Conditioning()).dtype == torch.float32


class Wide(torch.nn.Module):
    """Return too many channels."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Conditioning) -> torch.Tensor:
        return torch.cat([x, x], 1)


def test_rows_must_agree() -> None:
    model = Denoiser(Noisy(), Flow(), "v")
    with pytest.raises(InputError, match=r"sigma \(1,\): one level for each of the 2"):
        model(torch.zeros(2, 3), torch.ones(1), Conditioning())
    with pytest.raises(InputError, match="cond of 3 rows: must have as many as x, 2"):
        model(torch.zeros(2, 3), torch.ones(2), Conditioning(label=torch.zeros(3)))
    with pytest.raises(InputError, match=r"net: returned \(2, 6\); it must return the shape of x, \(2, 3\)"):
        Denoiser(Wide(), Flow(), "v")(torch.zeros(2, 3), torch.ones(2), Conditioning())
    with pytest.raises(InputError, match="'noise'"):
        Denoiser(Noisy(), Flow(), "noise")  # type: ignore[arg-type]


def test_collate_pads_to_the_longest_prompt_and_masks() -> None:
    short = Conditioning(torch.ones(1, 2, 4), vector=torch.zeros(1, 3))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    long = Conditioning(torch.full((2, 5, 4), 2.0), mask, torch.ones(2, 3))
    both = collate([short, long])
    assert len(both) == 3
    assert both.tokens is not None
    assert both.mask is not None
    assert both.vector is not None
    assert both.tokens.shape == (3, 5, 4)
    assert both.mask.sum(1).tolist() == [2, 3, 5]
    assert (both.tokens[0, 2:] == 0).all()
    assert torch.equal(both.tokens[1:], long.tokens)  # type: ignore[arg-type]
    assert both.vector.tolist() == [[0] * 3, [1] * 3, [1] * 3]
    back = both.rows([0])
    assert torch.equal(back.tokens[:, :2], short.tokens)  # type: ignore[arg-type, index]


def test_collate_adds_no_mask_to_equal_lengths() -> None:
    cond = Conditioning(torch.ones(1, 2, 4))
    assert collate([cond, cond]).mask is None
    assert len(collate([Conditioning(), Conditioning()])) == 0
    assert len(collate([])) == 0


def test_collate_refuses_different_fields_and_widths() -> None:
    with pytest.raises(InputError, match="all or none of a batch must have label"):
        collate([Conditioning(label=torch.zeros(1)), Conditioning()])
    with pytest.raises(InputError, match="widths differ"):
        collate([Conditioning(vector=torch.zeros(1, 3)), Conditioning(vector=torch.zeros(1, 4))])


def test_cond_checks_its_rows_and_mask() -> None:
    with pytest.raises(InputError, match="tokens 1, label 2"):
        Conditioning(torch.zeros(1, 2, 3), label=torch.zeros(2))
    with pytest.raises(InputError, match=r"mask \(1, 3\)"):
        Conditioning(torch.zeros(1, 2, 3), torch.ones(1, 3).bool())


def test_cond_moves_and_repeats() -> None:
    cond = Conditioning(torch.zeros(2, 2, 3), torch.ones(2, 2).bool(), label=torch.tensor([4, 5]))
    half = cond.to(dtype=torch.bfloat16)
    assert [value.dtype for value in half.given().values()] == [torch.bfloat16, torch.bool, torch.int64]
    assert cond.rows([1, 1, 0]).label.tolist() == [5, 5, 4]  # type: ignore[union-attr]
    assert cond.rows(slice(1, 2)).label.tolist() == [5]  # type: ignore[union-attr]
    assert cond.rows(torch.tensor([0])).label.tolist() == [4]  # type: ignore[union-attr]


class Wave(torch.nn.Module):
    """Return some function of x and time."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Conditioning) -> torch.Tensor:
        return (x + time[:, None]).sin()


def test_edm_is_as_in_its_paper() -> None:
    """D(y) = c_skip*y + c_out*F(c_in*y, c_noise), and v = -F. Source: Karras et al. 2022, eq. 7 and table 1."""
    scale, y = 0.5, torch.randn(4, 3, dtype=torch.float64) * 3
    sigma = torch.tensor([0.01, 0.4, 2.0, 70.0], dtype=torch.float64)
    total = torch.hypot(sigma, torch.tensor(scale, dtype=torch.float64))[:, None]
    f = Wave()(y / total, sigma.log() / 4, Conditioning())
    expected = scale**2 / total**2 * y - sigma[:, None] * scale / total * f
    model = Denoiser(Wave(), EDM(scale, 0.004, 160.0), "v")
    torch.testing.assert_close(scale * model(y / total, sigma / scale, Conditioning()), expected)


def test_flow_is_as_in_its_paper() -> None:
    """x0 = x_t - t*u. Source: Lipman et al. 2023, eq. 22."""
    t = torch.tensor([0.01, 0.4, 0.9, 1.0], dtype=torch.float64)
    x_t = torch.randn(4, 3, dtype=torch.float64)
    expected = x_t - t[:, None] * Wave()(x_t, t, Conditioning())
    unit = x_t / torch.hypot(t, 1 - t)[:, None]
    torch.testing.assert_close(Denoiser(Wave(), Flow(), "flow")(unit, t / (1 - t), Conditioning()), expected)


def test_ddpm_is_as_in_its_paper() -> None:
    """x0 = (x_t - sqrt(1 - a^2)*eps) / a. Source: Ho et al. 2020, eq. 15."""
    process, step = VP("scaled-linear"), torch.tensor([0, 1, 500, 999])
    a2, x_t = torch.tensor(process.table(), dtype=torch.float64)[step], torch.randn(4, 3, dtype=torch.float64)
    eps = Wave()(x_t, step.double(), Conditioning())
    expected = (x_t - (1 - a2).sqrt()[:, None] * eps) / a2.sqrt()[:, None]
    found = Denoiser(Wave(), process, "eps")(x_t, ((1 - a2) / a2).sqrt(), Conditioning())
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
