"""The four kinds of prediction, both ways, in the unit frame  x = signal*x0 + spread*eps.

    kind   out                        x0 from out                            error of x0 / error of out
    x0     x0                         out                                    1
    eps    eps                        x*sqrt(1 + sigma^2) - sigma*out        sigma (undefined at sigma = inf)
    v      signal*eps - spread*x0     signal*x - spread*out                  spread
    flow   eps - x0                   (x - spread*out) / (signal + spread)   spread / (signal + spread)

`v` is also EDM's preconditioning at sigma_data = 1: c_skip*x + c_out*F with F = -v.
Source: Salimans & Ho 2022, section 4 (v); Lipman et al. 2023, eq. 23 (flow); Karras et al. 2022, table 1.
"""

import torch
from torch import Tensor

from unnoise.errors import InputError, nearest
from unnoise.sampling.kinds import KINDS, Kind


def signal(sigma: Tensor) -> Tensor:
    """Return the coefficient of x0 in x: 1 / sqrt(1 + sigma^2), 1 at 0 and 0 at inf. sigma: any shape."""
    return torch.hypot(torch.ones_like(sigma), sigma).reciprocal()


def spread(sigma: Tensor) -> Tensor:
    """Return the coefficient of noise in x: 1 / sqrt(1 + 1/sigma^2), 0 at 0 and 1 at inf. sigma: any shape."""
    return torch.hypot(torch.ones_like(sigma), sigma.reciprocal()).reciprocal()


def expand(v: Tensor, like: Tensor) -> Tensor:
    """View v: (B,) as (B, 1, ..., 1) with the rank, dtype and device of like: (B, *d)."""
    return v.to(like).reshape(-1, *(1,) * (like.ndim - 1))


def mix(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Add noise: signal*x0 + spread*noise. x0, noise: (B, *d); sigma: (B,) in [0, inf]."""
    return expand(signal(sigma), x0) * x0 + expand(spread(sigma), x0) * noise


def to_x0(kind: Kind, out: Tensor, x: Tensor, sigma: Tensor, ends: bool = False) -> Tensor:
    """Convert a prediction to x0. out, x: (B, *d); sigma: (B,) in [0, inf]; x in the unit frame.

    ends: sigma is known to be finite, and a device need not be asked.

    Raises InputError for an unknown kind, and for `eps` at sigma = inf, where eps does not determine x0.
    """
    known_kind(kind)
    out = out.to(x.dtype)
    if kind == "x0":
        return out
    if kind == "eps":
        if not ends and torch.isinf(sigma).any():
            raise InputError("sigma inf: kind 'eps' does not determine x0 there; start at a finite sigma")
        return expand(signal(sigma).reciprocal(), x) * x - expand(sigma, x) * out
    s, p = signal(sigma), spread(sigma)
    if kind == "v":
        return expand(s, x) * x - expand(p, x) * out
    return (x - expand(p, x) * out) / expand(s + p, x)


def from_x0(kind: Kind, x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Convert x0 to a prediction of this kind. x0, x: (B, *d); sigma: (B,) in (0, inf].

    The inverse of to_x0. Raises InputError for an unknown kind, and at sigma = 0 for every kind but `x0`: there
    x is x0 whatever the noise was, and eps, v and flow are not determined (`target` needs the noise and is).
    """
    known_kind(kind)
    if kind == "x0":
        return x0
    if (sigma == 0).any():
        raise InputError(f"sigma 0: kind {kind!r} is not determined by x0 and x; use target()")
    s, p = expand(signal(sigma), x), expand(spread(sigma), x)
    if kind == "eps":
        return (x - s * x0) / p
    if kind == "v":
        return (s * x - x0) / p
    return (x - (s + p) * x0) / p


def target(kind: Kind, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Return the training target of a net of this kind. x0, noise: (B, *d); sigma: (B,) in [0, inf].

    Raises InputError for an unknown kind.
    """
    known_kind(kind)
    if kind == "x0":
        return x0
    if kind == "eps":
        return noise
    if kind == "flow":
        return noise - x0
    return expand(signal(sigma), x0) * noise - expand(spread(sigma), x0) * x0


def ratio(own: Kind, other: Kind, sigma: Tensor) -> Tensor:
    """Return |error in kind other| / |error in kind own| of one prediction. sigma: (B,) in [0, inf] -> (B,).

    Finite for own `v` and `flow` everywhere; 0 or inf where a kind is degenerate (x0 at 0, eps at inf).
    """
    if own == other:
        return torch.ones_like(sigma)
    return _reach(own, sigma) / _reach(other, sigma)


def known_kind(kind: str) -> None:
    """Raise InputError unless kind is one of KINDS."""
    if kind not in KINDS:
        raise InputError(f"kind {kind!r}: {nearest(kind, KINDS)}")


def _reach(kind: Kind, sigma: Tensor) -> Tensor:
    """Return |error of x0| / |error of out| / spread, which is finite for v and flow at every sigma."""
    if kind == "x0":
        return spread(sigma).reciprocal()
    if kind == "eps":
        return signal(sigma).reciprocal()
    if kind == "v":
        return torch.ones_like(sigma)
    return (signal(sigma) + spread(sigma)).reciprocal()
