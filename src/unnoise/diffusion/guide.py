"""Guidance: denoisers made of denoisers. Stateless; a parameter is one number, or one for each sample.

One convention: null + weight*(cond - null), so weight 1 is off. It is applied to x0, which means the same as
in eps, v or flow, because each of them is affine in x0 with coefficients that both answers share.
"""

from math import inf

import torch
from torch import Tensor

from unnoise.diffusion.model import Cond, Denoise, Model, collate
from unnoise.diffusion.predict import expand
from unnoise.errors import Refusal


def cfg(
    model: Model,
    cond: Cond,
    null: Cond,
    weight: float | Tensor,
    between: tuple[float | Tensor, float | Tensor] = (0.0, inf),
    rescale: float | Tensor = 0.0,
) -> Denoise:
    """Guide by what the conditions change: null + weight*(cond - null), with weight 1 outside `between`.

    cond: B rows; null: B rows or one; weight, rescale in [0, 1], both levels of between (included): a number
    or (B,). Both answers come from one call of 2B rows, or from one of B where no row is to be guided.
    rescale moves the deviation of a guided x0 towards that of the conditional x0.
    Raises Refusal for rows that do not fit, a weight or rescale out of range, and an interval that is empty.
    Source: Ho & Salimans 2022, eq. 6 (whose w is weight - 1); Kynkaanniemi et al. 2024 (between); Lin et al.
    2023, section 3.4 (rescale).
    """
    if len(null) == 1:
        null = null.rows([0] * len(cond))
    if len(cond) != len(null) or len(cond) == 0:
        raise Refusal(f"null of {len(null)} rows: 1, or as many as cond, {len(cond)}, which has at least 1")
    _within("weight", weight, -inf, inf)
    _within("rescale", rescale, 0.0, 1.0)
    if not bool((torch.as_tensor(between[0]) <= torch.as_tensor(between[1])).all()):
        raise Refusal(f"between {between}: the lower level first")
    both = collate([cond, null])

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        scale, share = per_sample(weight, sigma), per_sample(rescale, sigma)
        low, high = (per_sample(end, sigma) for end in between)
        guided = (scale != 1) & (sigma >= low) & (sigma <= high)
        if not guided.any():
            return model(x, sigma, cond)
        plain, base = model(torch.cat([x, x]), torch.cat([sigma, sigma]), both).chunk(2)
        pushed = base + expand(scale, x) * (plain - base)
        if share.any():
            pushed = torch.lerp(pushed, pushed * _shrink(plain, pushed), expand(share, x))
        return torch.where(expand(guided, x).bool(), pushed, plain)

    return denoise


def autoguide(good: Denoise, weak: Denoise, weight: float | Tensor) -> Denoise:
    """Guide away from a worse version of a model: weak + weight*(good - weak). weight: a number or (B,).

    Raises Refusal for a weight that is not finite.
    Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", section 4.
    """
    _within("weight", weight, -inf, inf)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        best, scale = good(x, sigma), per_sample(weight, sigma)
        guided = scale != 1
        if not guided.any():
            return best
        base = weak(x, sigma)
        return torch.where(expand(guided, x).bool(), base + expand(scale, x) * (best - base), best)

    return denoise


def per_sample(value: float | Tensor, sigma: Tensor) -> Tensor:
    """Bring a number or (B,) to the shape, dtype and device of sigma: (B,), or raise Refusal."""
    values = torch.as_tensor(value, dtype=sigma.dtype, device=sigma.device)
    if values.shape not in ((), sigma.shape):
        raise Refusal(f"{tuple(values.shape)} values for {len(sigma)} samples: one, or one for each")
    return values.expand(len(sigma))


def _shrink(plain: Tensor, pushed: Tensor) -> Tensor:
    """Give deviation(plain) / deviation(pushed) of each sample, 1 where pushed is constant: (B, 1, ...)."""
    wanted, found = (each.flatten(1).std(1, correction=0) for each in (plain, pushed))
    return expand(torch.where(found > 0, wanted / found, 1.0), plain)


def _within(name: str, value: float | Tensor, low: float, high: float) -> None:
    values = torch.as_tensor(value)
    if not bool(((values >= low) & (values <= high) & values.isfinite()).all()):
        raise Refusal(f"{name} {value}: a finite number in [{low:g}, {high:g}] for each sample")
