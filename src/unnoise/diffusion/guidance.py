"""Guidance: denoisers composed of denoisers. They are stateless; a parameter is a number, or (B,), one a sample.

One convention: null + guidance_scale*(cond - null), so scale 1 is off. The formula is applied to x0, which is
equivalent to eps, v and flow: each is affine in x0, with the same coefficients for all predictions. The methods differ
in the null and the scale: `autoguide` takes the null from a worse model, `apg` and `perpneg` modify the null, `cfgpp`
has a scale for each step. `threshold` does no guidance; it bounds the x0 of the others. Outside of the levels of
`interval` (both ends included) the scale is 1; where it is 1 for all rows, only the conditional prediction is run.

Parameters of a wrong range, an empty interval and rows that do not fit raise InputError.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

import torch
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.prediction import expand
from unnoise.errors import InputError
from unnoise.sampling.grid import explicit

Value = float | Tensor  # one number, or one for each sample: (B,)
Interval = tuple[Value, Value]  # the lowest and the highest level sigma
Predict = Callable[[Tensor, Tensor], Sequence[Tensor]]  # (x, sigma) -> the conditional x0, then the others of a rule
ALL_LEVELS: tuple[float, float] = (0.0, inf)


def cfg(
    denoiser: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    guidance_scale: Value,
    interval: Interval = ALL_LEVELS,
    rescale: Value = 0.0,
) -> Denoise:
    """Apply classifier-free guidance (CFG): null + guidance_scale*(cond - null).

    Args:
        denoiser: runs once with 2B rows, or with B rows where no row has a scale other than 1.
        cond: B rows.
        null: B rows or one, the empty or the negative prompt.
        guidance_scale: finite; 1 is off.
        interval: the levels at which guidance applies.
        rescale: in [0, 1]; changes the deviation of the guided x0 towards that of the conditional x0.

    Source: Ho & Salimans 2022, eq. 6 (whose w is guidance_scale - 1); Kynkaanniemi et al. 2024 (interval); Lin et al.
    2023, section 3.4 (rescale).
    """
    _check_share("rescale", rescale)

    def rule(scale: Tensor, plain: Tensor, base: Tensor) -> Tensor:
        return rescaled(extrapolate(scale, plain, base), plain, per_sample(rescale, plain))

    return guided(
        denoiser.bind(cond), batched(denoiser, cond, {"null": null}), _constant(guidance_scale), rule, interval
    )


def cfgpp(
    denoiser: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    scale: Value,
    grid: Sequence[float],
    interval: Interval = ALL_LEVELS,
) -> Denoise:
    """Apply CFG++: guide the x0 of a DDIM step, with the noise of the step unguided.

    CFG++ ends a DDIM step at signal'*(null + scale*(cond - null)) + spread'*eps_null. As spread*eps_null is
    x - signal*null, this is (spread'/spread)*x + signal'*(1 - r)*x0 with r = sigma'/sigma, the plain step, for

        x0 = null + scale/(1 - r) * (cond - null)

    This is CFG with a guidance scale that is larger for shorter steps, and equals `scale` from sigma = inf and on the
    step to 0. It is exact for DDIM without noise; other samplers get the same scales. sigma' is the next level.

    Args:
        denoiser, cond, null, interval: as for `cfg`.
        scale: lambda of the paper, in [0, 1]; no value is off: 1 is the whole guided x0, 0 the unconditional model.
        grid: of the run; descends. A call below its last level raises InputError.

    Source: Chung et al. 2024, "CFG++: manifold-constrained classifier free guidance", arXiv 2406.08070.
    """
    _check_share("scale", scale)
    ascending = torch.tensor(explicit(grid), dtype=torch.float64).flip(0)

    def scale_at(sigma: Tensor) -> Tensor:
        levels = ascending.to(sigma.dtype).to(sigma.device)
        below = torch.searchsorted(levels, sigma * (1 - 1e-6)) - 1  # a level may have been rounded to float32
        if (below < 0).any():
            raise InputError(f"sigma {sigma.min():g}: cfgpp needs a next level, and its grid ends at {levels[0]:g}")
        return per_sample(scale, sigma) / (1 - levels[below] / sigma)

    return guided(denoiser.bind(cond), batched(denoiser, cond, {"null": null}), scale_at, extrapolate, interval)


def apg(
    denoiser: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    guidance_scale: Value,
    eta: Value = 0.0,
    norm: Value = inf,
    interval: Interval = ALL_LEVELS,
) -> Denoise:
    """Apply adaptive projected guidance (APG), which reduces the oversaturation of high guidance scales.

    cond + (guidance_scale - 1)*(orthogonal + eta*parallel), the parts of cond - null orthogonal and parallel to cond.
    The momentum of the paper is left out, as denoisers are stateless.

    Args:
        denoiser, cond, null, guidance_scale, interval: as for `cfg`.
        eta: in [0, 1]; with eta 1 and norm inf this is `cfg`.
        norm: in [0, inf], the largest L2 norm of cond - null over a whole sample, so it depends on the size.

    Source: Sadat et al. 2024, "Eliminating oversaturation and artifacts of high guidance scales in diffusion
    models", arXiv 2410.02416, algorithm 1.
    """
    _check_share("eta", eta)
    _check("norm", norm, lambda values: values >= 0, "a number in [0, inf]")

    def rule(scale: Tensor, plain: Tensor, base: Tensor) -> Tensor:
        change = _limited(plain - base, per_sample(norm, plain))
        across = change - (1 - per_sample(eta, plain)) * _parallel(change, plain)
        return extrapolate(scale, plain, plain - across)

    return guided(
        denoiser.bind(cond), batched(denoiser, cond, {"null": null}), _constant(guidance_scale), rule, interval
    )


def perpneg(
    denoiser: Denoiser,
    cond: Conditioning,
    null: Conditioning,
    negative: Conditioning,
    guidance_scale: Value,
    negative_scale: Value = 1.0,
    interval: Interval = ALL_LEVELS,
) -> Denoise:
    """Apply Perp-Neg: guide away from the part of a negative prompt that is perpendicular to the prompt.

    The null of `cfg` becomes null + negative_scale*side, where side is the part of negative - null orthogonal to
    cond - null. At negative_scale 1 a negative that is wholly orthogonal acts as the null of `cfg` would, and one that
    is parallel has no effect. The paper uses null + guidance_scale*(cond - null - w*side): its w is
    negative_scale*(guidance_scale - 1)/guidance_scale, so that here scale 1 is off.

    Args:
        denoiser, cond, null, guidance_scale, interval: as for `cfg`; one call has 3B rows.
        negative: B rows or one.
        negative_scale: finite; 0 is `cfg`.

    Source: Armandpour et al. 2023, "Re-imagine the negative prompt algorithm", arXiv 2304.04968.
    """
    _check("negative_scale", negative_scale, torch.isfinite, "a finite number")

    def rule(scale: Tensor, plain: Tensor, base: Tensor, bad: Tensor) -> Tensor:
        side = bad - base - _parallel(bad - base, plain - base)
        return extrapolate(scale, plain, base + per_sample(negative_scale, plain) * side)

    predict = batched(denoiser, cond, {"null": null, "negative": negative})
    return guided(denoiser.bind(cond), predict, _constant(guidance_scale), rule, interval)


def instruct(
    denoiser: Denoiser,
    cond: Conditioning,
    image: Conditioning,
    null: Conditioning,
    guidance_scale: Value,
    image_guidance: Value,
    interval: Interval = ALL_LEVELS,
    rescale: Value = 0.0,
) -> Denoise:
    """Apply two guidance scales, for an input image and for the text (InstructPix2Pix).

    null + image_guidance*(image - null) + guidance_scale*(cond - image), in one call of 3B rows. Outside of the
    interval, and where both scales are 1 for all rows, it is cond.

    Args:
        denoiser, guidance_scale, interval, rescale: as for `cfg`.
        cond: text and image, B rows.
        image: the image without the text, B rows or one.
        null: neither, B rows or one.
        image_guidance: finite; 1 is off.

    Source: Brooks et al. 2023 (InstructPix2Pix), eq. 3.
    """
    _check_share("rescale", rescale)
    text_scale, image_scale = _constant(guidance_scale), _constant(image_guidance, "image_guidance")
    plain, predict = denoiser.bind(cond), batched(denoiser, cond, {"image": image, "null": null})
    applies = in_interval(interval)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        by_text, by_image = text_scale(sigma), image_scale(sigma)
        inside = applies(sigma) & ((by_text != 1) | (by_image != 1))
        if not inside.any():
            return plain(x, sigma)
        best, near, base = predict(x, sigma)
        x0 = extrapolate(expand(by_image, x), near, base) + expand(by_text, x) * (best - near)
        x0 = rescaled(x0, best, per_sample(rescale, x))
        return torch.where(expand(inside, x) == 1, x0, best)

    return denoise


def autoguide(good: Denoise, weak: Denoise, guidance_scale: Value) -> Denoise:
    """Apply autoguidance, away from a worse version of a model: weak + guidance_scale*(good - weak).

    Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", section 4.
    """
    return guided(good, lambda x, sigma: (good(x, sigma), weak(x, sigma)), _constant(guidance_scale), extrapolate)


def threshold(denoise: Denoise, limit: Value, quantile: Value = 0.995) -> Denoise:
    """Apply dynamic thresholding: where |x0| exceeds the limit, clip x0 at a quantile and scale it to the limit.

    Args:
        denoise: any denoiser, guided or not.
        limit: above 0, the largest |x0| of the data in Space coordinates: 1 only for pixels in [-1, 1] as they are.
        quantile: in [0, 1]; 1 scales without clipping.

    Source: Saharia et al. 2022 (Imagen), section 2.3; 0.995 as in huggingface/diffusers.
    """
    _check("limit", limit, lambda values: values > 0, "a number above 0")
    _check_share("quantile", quantile)

    def bounded(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = denoise(x, sigma)
        return _clipped(x0, per_sample(limit, x0), per_sample(quantile, x0))

    return bounded


def guided(
    plain: Denoise,
    predict: Predict,
    scale_at: Callable[[Tensor], Tensor],
    rule: Callable[..., Tensor],
    interval: Interval = ALL_LEVELS,
) -> Denoise:
    """Combine several predictions into one x0 by a rule.

    Args:
        plain: the conditional denoiser, run alone where no row is guided.
        predict: (x, sigma) -> the conditional x0 and the others that the rule needs.
        scale_at: sigma (B,) -> guidance scale (B,).
        rule: (scale (B, 1, ..., 1), conditional x0, *others) -> x0, for the rows whose scale is not 1.
        interval: the levels at which the rule applies.
    """
    applies = in_interval(interval)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        scale = torch.where(applies(sigma), scale_at(sigma), 1.0)
        if (scale == 1).all():
            return plain(x, sigma)
        best, *others = predict(x, sigma)
        return torch.where(expand(scale, x) == 1, best, rule(expand(scale, x), best, *others))

    return denoise


def batched(denoiser: Denoiser, cond: Conditioning, others: Mapping[str, Conditioning]) -> Predict:
    """Run a denoiser with several conditionings in one call. cond: B rows, from 1 up; others: B rows or one by name."""
    conds = [cond]
    for name, other in others.items():
        conds.append(other.rows([0] * len(cond)) if len(other) == 1 else other)
        if len(conds[-1]) != len(cond) or len(cond) == 0:
            raise InputError(f"{name} of {len(other)} rows: 1, or as many as cond, {len(cond)}, which has at least 1")
    count, every = len(conds), collate(conds)

    def predict(x: Tensor, sigma: Tensor) -> Sequence[Tensor]:
        x0: Tensor = denoiser(torch.cat([x] * count), torch.cat([sigma] * count), every)
        return x0.chunk(count)

    return predict


def in_interval(interval: Interval) -> Callable[[Tensor], Tensor]:
    """Return a function from levels (B,) to whether they are in an interval, both ends included."""
    if not bool((torch.as_tensor(interval[0]) <= torch.as_tensor(interval[1])).all()):
        raise InputError(f"interval {interval}: two levels sigma, the lower one first")

    def inside(sigma: Tensor) -> Tensor:
        low, high = (per_sample(end, sigma) for end in interval)
        return (sigma >= low) & (sigma <= high)

    return inside


def per_sample(value: Value, like: Tensor) -> Tensor:
    """Expand a number or (B,) to (B, 1, ..., 1), with the rank, dtype and device of like: (B, *d)."""
    values = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if values.shape not in ((), like.shape[:1]):
        raise InputError(f"{tuple(values.shape)} values for {len(like)} samples: one, or one for each")
    return expand(values.expand(len(like)), like)


def _constant(scale: Value, name: str = "guidance_scale") -> Callable[[Tensor], Tensor]:
    _check(name, scale, torch.isfinite, "a finite number")
    return lambda sigma: per_sample(scale, sigma)


# The formulas. x0 is (B, *d) in Space coordinates; scale, share, limit and quantile are (B, 1, ..., 1).


def extrapolate(scale: Tensor, plain: Tensor, base: Tensor) -> Tensor:
    """Return base + scale*(plain - base)."""
    return base + scale * (plain - base)


def rescaled(x0: Tensor, plain: Tensor, share: Tensor) -> Tensor:
    """Return x0 with its deviation changed by a share of the way to that of plain."""
    own, other = (expand(each.flatten(1).std(1, correction=0), each) for each in (x0, plain))
    return torch.lerp(x0, x0 * torch.where(own > 0, other / own, 1.0), share)


def _limited(change: Tensor, limit: Tensor) -> Tensor:
    """Return change, scaled to an L2 norm of at most limit, in [0, inf]."""
    length = expand(change.flatten(1).norm(dim=1), change)
    return torch.where(length > limit, change * (limit / length), change)


def _parallel(change: Tensor, axis: Tensor) -> Tensor:
    """Return the part of change parallel to axis, 0 where axis is 0."""
    shared, square = (expand((each * axis).flatten(1).sum(1), axis) for each in (change, axis))
    return torch.where(square > 0, shared / square, 0.0) * axis


def _clipped(x0: Tensor, limit: Tensor, quantile: Tensor) -> Tensor:
    """Clip x0 at s, the larger of limit and the quantile of |x0|, and scale it by limit/s."""
    ordered = x0.abs().flatten(1).sort(1).values
    place = quantile.flatten(1).cpu().double() * (ordered.shape[1] - 1)
    low, high = (ordered.gather(1, end.long().to(ordered.device)) for end in (place.floor(), place.ceil()))
    top = torch.lerp(low, high, place.frac().to(low)).view_as(limit)
    edge = torch.maximum(top, limit)
    return x0.clamp(-edge, edge) * torch.where(top > limit, limit / edge, 1.0)


def _check_share(name: str, value: Value) -> None:
    _check(name, value, lambda values: (values >= 0) & (values <= 1), "a number in [0, 1]")


def _check(name: str, value: Value, holds: Callable[[Tensor], Tensor], allowed: str) -> None:
    if not bool(holds(torch.as_tensor(value)).all()):
        raise InputError(f"{name} {value}: {allowed}, for each sample")
