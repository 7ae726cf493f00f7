"""Kinds of prediction agree with each other and with the unit frame, from sigma = 0 to inf and in float32."""

import math

import pytest
import torch
from torch import Tensor

from unnoise.diffusion.prediction import expand, from_x0, mix, ratio, signal, spread, target, to_x0
from unnoise.errors import InputError
from unnoise.sampling.kinds import KINDS, Kind

SIGMAS = (0.0, 1e-3, 1.0, 1e3, math.inf)
SHAPES = ((2,), (3, 7), (3, 4, 5), (2, 3, 4, 5))


def pair(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(len(SIGMAS), *shape, generator=made, dtype=torch.float64) for _ in range(2))
    return x0.to(dtype), noise.to(dtype)


def test_signal_and_spread_are_exact_at_the_ends_and_never_nan() -> None:
    sigma = torch.tensor([0.0, 1e-30, 1e-3, 1.0, 1e3, 1e30, math.inf])
    s, p = signal(sigma), spread(sigma)
    assert [s[0].item(), p[0].item(), s[-1].item(), p[-1].item()] == [1, 0, 0, 1]
    torch.testing.assert_close(s[:-1] * sigma[:-1], p[:-1], rtol=3e-7, atol=0)
    torch.testing.assert_close(s**2 + p**2, torch.ones(7))
    exact = [1 / math.hypot(1, value) for value in sigma.tolist()]
    torch.testing.assert_close(s, torch.tensor(exact), rtol=3e-7, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_target_converts_back_to_x0(kind: Kind, shape: tuple[int, ...]) -> None:
    x0, noise = pair(shape, torch.float64)
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    rows = slice(0, 4 if kind == "eps" else 5)
    x = mix(x0, noise, sigma)
    found = to_x0(kind, target(kind, x0, noise, sigma)[rows], x[rows], sigma[rows])
    torch.testing.assert_close(found, x0[rows], rtol=0, atol=1e-11)
    again = from_x0(kind, x0[1:], x[1:], sigma[1:])
    torch.testing.assert_close(again, target(kind, x0, noise, sigma)[1:], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("kind", "atol"), [("x0", 0), ("v", 1e-6), ("flow", 1e-6), ("eps", 5e-4)])
def test_round_trip_in_float32(kind: Kind, atol: float) -> None:
    x0, noise = pair((3, 4), torch.float32)
    sigma = torch.tensor(SIGMAS)
    rows = slice(0, 4 if kind == "eps" else 5)  # sigma = 1e3 magnifies what float32 rounds off eps
    out = target(kind, x0, noise, sigma)
    found = to_x0(kind, out[rows], mix(x0, noise, sigma)[rows], sigma[rows])
    torch.testing.assert_close(found, x0[rows], rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_at_zero_x0_is_x_bit_for_bit(kind: Kind) -> None:
    x, out = pair((4,), torch.float32)
    assert torch.equal(to_x0(kind, out, x, torch.zeros(len(x))), x)


def test_pure_noise() -> None:
    x, out = pair((4,), torch.float32)
    sigma = torch.full((len(x),), math.inf)
    assert torch.equal(to_x0("v", out, x, sigma), -out)
    assert torch.equal(to_x0("flow", out, x, sigma), x - out)
    with pytest.raises(InputError, match="sigma inf: kind 'eps'"):
        to_x0("eps", out, x, sigma)


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_without_noise_a_target_needs_the_noise(kind: Kind) -> None:
    x0, noise = pair((4,), torch.float32)
    with pytest.raises(InputError, match="sigma 0"):
        from_x0(kind, x0, x0, torch.zeros(len(x0)))
    expected = noise - x0 if kind == "flow" else noise
    assert torch.equal(target(kind, x0, noise, torch.zeros(len(x0))), expected)


@pytest.mark.parametrize("own", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_ratio_is_the_ratio_of_errors(own: Kind, other: Kind) -> None:
    x0, noise = pair((3, 4), torch.float64)
    sigma = torch.tensor([1e-2, 0.3, 1.0, 7.0, 1e2], dtype=torch.float64)
    x, guess = mix(x0, noise, sigma), x0 + 0.1
    errors = [(from_x0(k, guess, x, sigma) - target(k, x0, noise, sigma)).abs() for k in (own, other)]
    torch.testing.assert_close(errors[1], expand(ratio(own, other, sigma), x) * errors[0], rtol=1e-7, atol=0)


@pytest.mark.parametrize("own", ["v", "flow"])
@pytest.mark.parametrize("other", KINDS)
def test_ratio_of_v_and_flow_is_finite_everywhere(own: Kind, other: Kind) -> None:
    assert ratio(own, other, torch.tensor(SIGMAS)).isfinite().all()


def test_half_precision_outputs_are_converted_to_the_precision_of_x() -> None:
    x, out = pair((4,), torch.float32)
    assert to_x0("v", out.bfloat16(), x, torch.ones(len(x))).dtype == torch.float32


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    x = torch.zeros(1, 2)
    for function in (to_x0, from_x0, target):
        with pytest.raises(InputError, match=r"'epsilon'.*known: eps, flow, v, x0"):
            function("epsilon", x, x, torch.ones(1))  # type: ignore[arg-type]
