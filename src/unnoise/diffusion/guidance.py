"""Guidance: denoisers made of denoisers. Stateless; a parameter is one number, or one for each sample: (B,).

One convention: null + weight*(cond - null), so weight 1 is off. It is applied to x0, which means the same as
in eps, v or flow, because each of them is affine in x0 with coefficients that all answers share. Every rule is
this line: `autoguide` asks a worse model for the null, `apg` and `perpneg` move the null before they push away
from it, `cfgpp` has a weight for each step. `threshold` guides nothing: it bounds what the others overdo.
Outside the levels of `between` (both included) the weight is 1; where it is 1 for all rows, no null is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

import torch
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance_math import along, bound, clip, push, rescale as rescaled
from unnoise.diffusion.prediction import expand
from unnoise.errors import InputError
from unnoise.sampling.grid import explicit

Value = float | Tensor  # one number, or one for each sample: (B,)
Ask = Callable[[Tensor, Tensor], Sequence[Tensor]]  # (x, sigma) -> the plain answer and those that a rule needs
ALL_LEVELS: tuple[float, float] = (0.0, inf)


def cfg(
    model: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    weight: Value,
    between: tuple[Value, Value] = ALL_LEVELS,
    rescale: Value = 0.0,
) -> Denoise:
    """Guide by what the conditions change: null + weight*(cond - null), with weight 1 outside `between`.

    cond: B rows; null: B rows or one. Both answers come from one call of 2B rows, or from one of B where no row
    is to be guided. rescale in [0, 1] moves the deviation of a guided x0 towards that of the conditional x0.
    Raises InputError for rows that do not fit, a weight or rescale out of range, and an interval that is empty.
    Source: Ho & Salimans 2022, eq. 6 (whose w is weight - 1); Kynkaanniemi et al. 2024 (between); Lin et al.
    2023, section 3.4 (rescale).
    """
    _share("rescale", rescale)

    def rule(scale: Tensor, plain: Tensor, base: Tensor) -> Tensor:
        return rescaled(push(scale, plain, base), plain, per_sample(rescale, plain))

    return guided(model.bind(cond), together(model, cond, {"null": null}), fixed(weight), rule, between)


def cfgpp(
    model: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    strength: Value,
    grid: Sequence[float],
    between: tuple[Value, Value] = ALL_LEVELS,
) -> Denoise:
    """Guide the x0 of a step and leave its noise unguided: strength in [0, 1], over the grid that is walked.

    CFG++ ends a DDIM step at signal'*(null + strength*(cond - null)) + spread'*eps_null. As spread*eps_null is
    x - signal*null, this is (spread'/spread)*x + signal'*(1 - r)*x0 with r = sigma'/sigma, the plain step, for

        x0 = null + strength/(1 - r) * (cond - null)

    that is, CFG whose weight grows where steps are short: strength from sigma = inf and on the step to 0. Exact for
    DDIM without noise; other samplers get the same weights. sigma' is the level of the grid below sigma.
    There is no strength that is off: 1 keeps the guided x0 whole, 0 is the unconditional model.
    Raises InputError as `cfg` does, for a grid that does not descend and, when asked, below the last level of it.
    Source: Chung et al. 2024, "CFG++: manifold-constrained classifier free guidance", arXiv 2406.08070.
    """
    _share("strength", strength)
    levels = torch.tensor(explicit(grid), dtype=torch.float64).flip(0)

    def weight(sigma: Tensor) -> Tensor:
        rungs = levels.to(sigma)
        below = torch.searchsorted(rungs, sigma * (1 - 1e-6)) - 1  # a level may have been rounded to float32
        if (below < 0).any():
            raise InputError(
                f"sigma {sigma.min():g}: cfgpp steps to the next level of a grid that ends at {rungs[0]:g}"
            )
        return per_sample(strength, sigma) / (1 - rungs[below] / sigma)

    return guided(model.bind(cond), together(model, cond, {"null": null}), weight, push, between)


def apg(
    model: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    weight: Value,
    eta: Value = 0.0,
    norm: Value = inf,
    between: tuple[Value, Value] = ALL_LEVELS,
) -> Denoise:
    """Guide across the conditional x0 rather than along it, which is what makes colours too strong.

    cond + (weight - 1)*(orthogonal + eta*parallel), the two parts of cond - null as seen from cond, after
    cond - null was shortened to an L2 norm of at most `norm`, over the whole sample, which grows with its size.
    eta in [0, 1]; norm in [0, inf]; eta 1 and norm inf are `cfg`. The paper's momentum is left out: it remembers
    the step before, and a denoiser remembers nothing. Raises InputError as `cfg` does.
    Source: Sadat et al. 2024, "Eliminating oversaturation and artifacts of high guidance scales in diffusion
    models", arXiv 2410.02416, algorithm 1.
    """
    _share("eta", eta)
    _check("norm", norm, lambda values: values >= 0, "a number in [0, inf]")

    def rule(scale: Tensor, plain: Tensor, base: Tensor) -> Tensor:
        change = bound(plain - base, per_sample(norm, plain))
        across = change - (1 - per_sample(eta, plain)) * along(change, plain)
        return push(scale, plain, plain - across)

    return guided(model.bind(cond), together(model, cond, {"null": null}), fixed(weight), rule, between)


def perpneg(
    model: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    negative: Conditioning,
    weight: Value,
    strength: Value = 1.0,
    between: tuple[Value, Value] = ALL_LEVELS,
) -> Denoise:
    """Guide away from a negative prompt, but not from what it shares with the prompt.

    From null + strength*side, where side is the part of negative - null that is orthogonal to cond - null; one
    call of 3B rows. strength, finite, 0 = `cfg`. A negative that is wholly orthogonal acts, at strength 1, as it
    would as the null of `cfg`; one that is parallel does not act at all. The paper takes null + weight*(cond -
    null - w*side): its w is strength*(weight - 1)/weight, so that here weight 1 is off. Raises InputError as `cfg` does.
    Source: Armandpour et al. 2023, "Re-imagine the negative prompt algorithm", arXiv 2304.04968.
    """
    _finite("strength", strength)

    def rule(scale: Tensor, plain: Tensor, base: Tensor, bad: Tensor) -> Tensor:
        side = bad - base - along(bad - base, plain - base)
        return push(scale, plain, base + per_sample(strength, plain) * side)

    ask = together(model, cond, {"null": null, "negative": negative})
    return guided(model.bind(cond), ask, fixed(weight), rule, between)


def instruct(
    model: Denoiser,
    cond: Conditioning,
    image: Conditioning,
    null: Conditioning,
    weight: Value,
    image_guidance: Value,
    between: tuple[Value, Value] = ALL_LEVELS,
    rescale: Value = 0.0,
) -> Denoise:
    """Guide towards a picture that the net sees and a text on top of it, each with a weight of its own.

    null + image_weight*(image - null) + weight*(cond - image), in one call of 3B rows. cond: text and picture; image:
    the picture without the text; null: neither; B rows, or one for the latter two. Outside `between`, and where both
    weights are 1 for all rows, it is cond. rescale as in `cfg`. Raises InputError as `cfg` does.
    Source: Brooks et al. 2023 (InstructPix2Pix), eq. 3.
    """
    _share("rescale", rescale)
    text, seen = fixed(weight), fixed(image_guidance)
    plain, ask, acts = model.bind(cond), together(model, cond, {"image": image, "null": null}), within(between)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        pull, draw = text(sigma), seen(sigma)
        inside = acts(sigma) & ((pull != 1) | (draw != 1))
        if not inside.any():
            return plain(x, sigma)
        best, near, base = ask(x, sigma)
        pushed = push(expand(draw, x), near, base) + expand(pull, x) * (best - near)
        pushed = rescaled(pushed, best, per_sample(rescale, x))
        return torch.where(expand(inside, x) == 1, pushed, best)

    return denoise


def autoguide(good: Denoise, weak: Denoise, weight: Value) -> Denoise:
    """Guide away from a worse version of a model: weak + weight*(good - weak).

    Raises InputError for a weight that is not finite.
    Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", section 4.
    """
    return guided(good, lambda x, sigma: (good(x, sigma), weak(x, sigma)), fixed(weight), push)


def threshold(denoise: Denoise, limit: Value, quantile: Value = 0.995) -> Denoise:
    """Bound an answer to [-limit, limit]: cut off the largest values, above a quantile of |x0|, and scale the rest.

    limit: above 0, the largest |x0| of the data in Space coordinates: 1 only for pixels in [-1, 1] as they are.
    quantile in [0, 1]; 1 only scales. What is within the limit stays as it is. Raises InputError out of range.
    Source: Saharia et al. 2022 (Imagen), section 2.3; 0.995 as in huggingface/diffusers.
    """
    _check("limit", limit, lambda values: values > 0, "a number above 0")
    _share("quantile", quantile)

    def bounded(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = denoise(x, sigma)
        return clip(x0, per_sample(limit, x0), per_sample(quantile, x0))

    return bounded


def guided(
    plain: Denoise,
    ask: Ask,
    weight: Callable[[Tensor], Tensor],
    rule: Callable[..., Tensor],
    between: tuple[Value, Value] = ALL_LEVELS,
) -> Denoise:
    """Make one answer of several: rule(weight, best, *others), of what ask gives, where the weight is not 1.

    weight(sigma): (B,) -> (B,); rule gets it as (B, 1, ..., 1). Where no row is guided, only plain is asked.
    Raises InputError for an interval that is empty.
    """
    acts = within(between)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        scale = torch.where(acts(sigma), weight(sigma), 1.0)
        if (scale == 1).all():
            return plain(x, sigma)
        best, *others = ask(x, sigma)
        return torch.where(expand(scale, x) == 1, best, rule(expand(scale, x), best, *others))

    return denoise


def together(model: Denoiser, cond: Conditioning, others: Mapping[str, Conditioning]) -> Ask:
    """Ask a model under several conditions in one call. cond: B rows; others: B rows or one, by name.

    Raises InputError for rows that do not fit.
    """
    conds = [cond]
    for name, other in others.items():
        conds.append(other.rows([0] * len(cond)) if len(other) == 1 else other)
        if len(conds[-1]) != len(cond) or len(cond) == 0:
            raise InputError(f"{name} of {len(other)} rows: 1, or as many as cond, {len(cond)}, which has at least 1")
    count, every = len(conds), collate(conds)

    def ask(x: Tensor, sigma: Tensor) -> Sequence[Tensor]:
        answers: Tensor = model(torch.cat([x] * count), torch.cat([sigma] * count), every)
        return answers.chunk(count)

    return ask


def within(between: tuple[Value, Value]) -> Callable[[Tensor], Tensor]:
    """Say of levels (B,) whether they are in an interval, both ends included. Raises InputError for one that is empty."""
    if not bool((torch.as_tensor(between[0]) <= torch.as_tensor(between[1])).all()):
        raise InputError(f"between {between}: the lower level first")

    def inside(sigma: Tensor) -> Tensor:
        low, high = (per_sample(end, sigma) for end in between)
        return (sigma >= low) & (sigma <= high)

    return inside


def fixed(weight: Value) -> Callable[[Tensor], Tensor]:
    """Take one weight at every level. Raises InputError unless it is finite."""
    _finite("weight", weight)
    return lambda sigma: per_sample(weight, sigma)


def per_sample(value: Value, like: Tensor) -> Tensor:
    """Bring a number or (B,) to (B, 1, ..., 1), of the rank, dtype and device of like: (B, *d), or raise InputError."""
    values = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if values.shape not in ((), like.shape[:1]):
        raise InputError(f"{tuple(values.shape)} values for {len(like)} samples: one, or one for each")
    return expand(values.expand(len(like)), like)


def _finite(name: str, value: Value) -> None:
    _check(name, value, torch.isfinite, "a finite number")


def _share(name: str, value: Value) -> None:
    _check(name, value, lambda values: (values >= 0) & (values <= 1), "a number in [0, 1]")


def _check(name: str, value: Value, holds: Callable[[Tensor], Tensor], allowed: str) -> None:
    if not bool(holds(torch.as_tensor(value)).all()):
        raise InputError(f"{name} {value}: {allowed}, for each sample")
