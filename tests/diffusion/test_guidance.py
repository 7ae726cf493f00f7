"""Guidance is exact on Gaussians, whose guided denoiser is that of a shifted Gaussian; each sample is independent."""

import math

import pytest
import torch
from diffusion.gaussians import DATA, NEGATIVE, NULL, gaussian, inputs, labels, means, model
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.guidance import autoguide, cfg, instruct
from unnoise.diffusion.process import VP, Flow, Process
from unnoise.errors import InputError

SCALES = (0.0, 1.0, 3.0, 7.5)


@pytest.mark.parametrize("process", [Flow(), VP()], ids=repr)
def test_guided_gaussian_is_the_gaussian_with_the_extrapolated_mean(process: Process) -> None:
    x, sigma = inputs()
    one, other, _ = means()
    scale = torch.tensor(SCALES, dtype=torch.float64)
    guided = cfg(model(process), labels(*[DATA] * 4), labels(NULL), scale)(x, sigma)
    for i, w in enumerate(SCALES):
        expected = gaussian(other + w * (one - other)).denoise(x[i : i + 1], sigma[i : i + 1])
        torch.testing.assert_close(guided[i : i + 1], expected, rtol=0, atol=1e-9)


def test_from_pure_noise_x0_is_the_extrapolated_mean() -> None:
    one, other, _ = means()
    x, sigma = inputs(1)[0], torch.tensor([math.inf], dtype=torch.float64)
    x0 = cfg(model(), labels(DATA), labels(NULL), 4.0)(x, sigma)
    torch.testing.assert_close(x0[0], other + 4 * (one - other))


def test_scale_one_is_off_and_runs_the_net_once() -> None:
    x, sigma = inputs()
    made, cond = model(), labels(*[DATA] * 4)
    plain = made(x, sigma, cond)
    made.net.calls.clear()  # type: ignore[operator, union-attr]
    assert torch.equal(cfg(made, cond, labels(NULL), 1.0)(x, sigma), plain)
    assert torch.equal(cfg(made, cond, labels(NULL), 5.0, (100.0, math.inf))(x, sigma), plain)
    assert made.net.calls == [(4, 3, 4)] * 2
    cfg(made, cond, labels(NULL), 5.0)(x, sigma)
    assert made.net.calls[2:] == [(8, 3, 4)]


def test_interval_is_in_sigma_and_includes_both_ends() -> None:
    x, sigma = inputs()
    cond, null = labels(*[DATA] * 4), labels(NULL)
    plain, full = model()(x, sigma, cond), cfg(model(), cond, null, 5.0)(x, sigma)
    for ends in ((0.7, 2.0), (0.7, 2.5), (0.6, 2.0)):
        part = cfg(model(), cond, null, 5.0, ends)(x, sigma)
        assert torch.equal(part, torch.stack([plain[0], full[1], full[2], plain[3]]))
    each = (torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, math.inf, 1.0, math.inf]))
    part = cfg(model(), cond, null, 5.0, each)(x, sigma)
    assert torch.equal(part, torch.stack([full[0], plain[1], plain[2], full[3]]))


def test_a_sample_is_guided_alone_as_in_its_batch() -> None:
    x, sigma = inputs()
    scale, low, share = torch.tensor([[1.0, 2.0, 7.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0]])
    cond, null = labels(DATA, DATA, NULL, DATA), labels(NULL, NULL, DATA, NULL)
    together = cfg(model(), cond, null, scale, (low, math.inf), share)(x, sigma)
    for i in range(4):
        row = slice(i, i + 1)
        guide = cfg(model(), cond.rows(row), null.rows(row), scale[row], (low[row], math.inf), share[row])
        torch.testing.assert_close(guide(x[row], sigma[row]), together[row], rtol=0, atol=1e-12)


def test_rescale_restores_the_deviation_of_each_sample() -> None:
    x, sigma = inputs()
    cond, null = labels(*[DATA] * 4), labels(NULL)
    plain, pushed = model()(x, sigma, cond), cfg(model(), cond, null, 6.0)(x, sigma)
    full = cfg(model(), cond, null, 6.0, rescale=1.0)(x, sigma)
    torch.testing.assert_close(full.flatten(1).std(1), plain.flatten(1).std(1))
    shares = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    part = cfg(model(), cond, null, 6.0, rescale=shares)(x, sigma)
    torch.testing.assert_close(part, pushed + shares[:, None, None] * (full - pushed))


def test_rescale_of_a_constant_x0_changes_nothing() -> None:
    class Label(torch.nn.Module):
        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            assert cond.label is not None
            return cond.label[:, None, None].expand_as(x)

    x, sigma = inputs(1)
    guide = cfg(Denoiser(Label(), Flow(), "x0"), labels(3), labels(2), 5.0, rescale=1.0)
    assert torch.equal(guide(x, sigma), torch.full_like(x, 2 + 5 * (3 - 2)))


def test_prompts_of_different_length_are_guided_together() -> None:
    class Words(torch.nn.Module):
        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            assert cond.tokens is not None
            assert cond.mask is not None
            return (cond.tokens * cond.mask[..., None]).sum(1)

    made = Denoiser(Words(), Flow(), "x0")
    cond, null = Conditioning(torch.ones(2, 5, 3)), Conditioning(torch.ones(1, 1, 3))
    x0 = cfg(made, cond, null, 2.0)(torch.zeros(2, 3), torch.ones(2))
    assert torch.equal(x0, torch.full((2, 3), 1.0 + 2 * (5 - 1)))


def test_autoguidance_extrapolates_from_the_weak_model() -> None:
    x, sigma = inputs()
    one, other, _ = means()
    scale = torch.tensor(SCALES, dtype=torch.float64)
    guided = autoguide(gaussian(one).denoise, gaussian(other).denoise, scale)(x, sigma)
    for i, w in enumerate(SCALES):
        expected = gaussian(other + w * (one - other)).denoise(x[i : i + 1], sigma[i : i + 1])
        torch.testing.assert_close(guided[i : i + 1], expected)
    assert torch.equal(guided[1], gaussian(one).denoise(x, sigma)[1])


def test_autoguidance_of_scale_one_does_not_run_the_weak_model() -> None:
    def never(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError

    x, sigma = inputs()
    good = gaussian(means()[0]).denoise
    assert torch.equal(autoguide(good, never, 1.0)(x, sigma), good(x, sigma))


def test_two_scales_shift_a_gaussian_by_each() -> None:
    x, sigma = inputs()
    one, other, third = means()
    text_scale, near_scale = (
        torch.tensor(each, dtype=torch.float64) for each in ([7.5, 1.0, 0.0, 1.0], [1.5, 2.0, 1.0, 1.0])
    )
    made, cond, near, null = model(), labels(*[DATA] * 4), labels(NEGATIVE), labels(NULL)
    guided = instruct(made, cond, near, null, text_scale, near_scale)(x, sigma)
    for i, (w, p) in enumerate(zip(text_scale, near_scale, strict=True)):
        expected = gaussian(other + p * (third - other) + w * (one - third)).denoise(x[i : i + 1], sigma[i : i + 1])
        torch.testing.assert_close(guided[i : i + 1], expected, rtol=0, atol=1e-9)
    plain = made(x, sigma, cond)
    assert torch.equal(guided[3], plain[3])
    part = instruct(made, cond, near, null, text_scale, near_scale, (0.7, 2.0))(x, sigma)
    assert torch.equal(part, torch.stack([plain[0], guided[1], guided[2], plain[3]]))
    full = instruct(made, cond, near, null, 6.0, 2.0, rescale=1.0)(x, sigma)
    torch.testing.assert_close(full.flatten(1).std(1), plain.flatten(1).std(1))


def test_two_scales_of_one_run_the_net_once() -> None:
    x, sigma = inputs()
    made, cond = model(), labels(*[DATA] * 4)
    instruct(made, cond, labels(NEGATIVE), labels(NULL), 1.0, 1.0)(x, sigma)
    instruct(made, cond, labels(NEGATIVE), labels(NULL), 3.0, 2.0, (100.0, math.inf))(x, sigma)
    instruct(made, cond, labels(NEGATIVE), labels(NULL), 1.0, 2.0)(x, sigma)
    assert made.net.calls == [(4, 3, 4)] * 2 + [(12, 3, 4)]


def test_wrong_arguments_are_refused() -> None:
    cond, null = labels(DATA, DATA), labels(NULL)
    for message, make in (
        ("null of 3 rows: 1, or as many as cond, 2", lambda: cfg(model(), cond, labels(1, 1, 1), 2.0)),
        ("as cond, 0", lambda: cfg(model(), Conditioning(), Conditioning(), 2.0)),
        ("guidance_scale nan", lambda: cfg(model(), cond, null, math.nan)),
        ("rescale 1.5", lambda: cfg(model(), cond, null, 2.0, rescale=1.5)),
        ("the lower one first", lambda: cfg(model(), cond, null, 2.0, (3.0, 1.0))),
        ("guidance_scale inf", lambda: autoguide(model().bind(cond), model().bind(null), math.inf)),
        ("image_guidance inf", lambda: instruct(model(), cond, null, null, 2.0, math.inf)),
        (r"\(3,\) values for 2 samples", lambda: cfg(model(), cond, null, torch.ones(3) * 2)(*inputs(2))),
    ):
        with pytest.raises(InputError, match=message):
            make()
