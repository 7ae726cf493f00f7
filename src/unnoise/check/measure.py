"""Measure latents, guidance, images and denoisers. The rules of `unnoise.check` judge the numbers.

    import unnoise
    from unnoise.check import measure
    latents = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    for finding in unnoise.check(measure.subject(measure.latents(latents), measure.picture(decoded))):
        print(finding.message, finding.measured)

Every function takes tensors of torch or arrays of numpy, of any rank and device, and returns numbers by name; none for
an empty tensor. Nothing here imports torch, draws a random number or keeps a tensor.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite, sqrt
from typing import Any, Final

from unnoise.check.subject import Location, Measured, Subject
from unnoise.errors import InputError, nearest

Numbers = dict[str, float]
Array = Any  # a tensor of torch or an array of numpy
KINDS: Final = ("x0", "eps", "v", "flow")  # `kind_stated` and `kind_found` are indices in it
TRACES: Final[Mapping[str, tuple[float, float]]] = {"x0": (0, 1), "eps": (1, 0), "v": (0, 0), "flow": (1, -1)}


def subject(*numbers: Mapping[str, float], path: str = "pipeline") -> Subject:
    """Return measured numbers as a subject for `unnoise.check`. path: its name in findings."""
    place = Location(path)
    found = [Measured(name, float(value), place) for one in numbers for name, value in one.items()]
    return Subject(path=path, measured=tuple(found))


def latents(x0: Array) -> Numbers:
    """Measure encoded data as the denoiser gets it; it should have mean 0 and deviation 1.

    x0: (B, c, *d), of several different images; the numbers of one alone vary too much.
    """
    found = _finite("latent", x0)
    if len(x0) and found.get("latent_finite") == 1:
        found |= {"latent_rows": len(x0), "latent_mean": _mean(x0), "latent_deviation": _deviation(x0)}
    return found


def picture(pixels: Array, low: float = -1.0, high: float = 1.0) -> Numbers:
    """Measure decoded images: whether they are finite, one colour, or all black. pixels: in low ... high."""
    found = _finite("picture", pixels)
    if found.get("picture_finite") == 1:
        ends = [(float(end) - low) / (high - low) for end in (pixels.min(), pixels.max())]
        found |= {"picture_lowest": ends[0], "picture_highest": ends[1]}
    return found


def guided(x0: Array, plain: Array) -> Numbers:
    """Measure the effect of guidance. x0: guided; plain: of the condition alone, both (B, c, *d)."""
    return {"guided_ratio": _ratio(_deviation(x0), _deviation(plain))} if _size(x0) else {}


def clipped(pixels: Array, plain: Array, low: float = -1.0, high: float = 1.0) -> Numbers:
    """Measure the share of values that only guidance moves to the ends of their range.

    pixels: decoded from a guided x0; plain: from that of the condition alone, both before or after clipping.
    """
    if not _size(pixels):
        return {}
    shares = [_mean((_wide(one) <= low) | (_wide(one) >= high)) for one in (pixels, plain)]
    return {"clipped_share": shares[0], "clipped_more": shares[0] - shares[1]}


def round_trip(x0: Array, back: Array) -> Numbers:
    """Measure how an autoencoder changes latents of a denoiser, in deviations of them.

    back: x0 decoded to pixels and encoded again; with the right scale it changes little.
    """
    return {"round_trip": _ratio(_size_of(_wide(back) - _wide(x0)), _deviation(x0))} if _size(x0) else {}


def null(cond: Array, empty: Array) -> Numbers:
    """Measure the distance of predictions with a prompt and with the empty prompt, in deviations of the former.

    cond, empty: x0 of the same noisy x, at a high noise level.
    """
    return {"null_difference": _ratio(_size_of(_wide(cond) - _wide(empty)), _deviation(cond))} if _size(cond) else {}


def coupling(denoise: Callable[[Array, Array], Array], x: Array, sigma: Array) -> Numbers:
    """Measure how the prediction for a row depends on the other rows of its batch, in deviations of it.

    denoise(x, sigma) -> x0, one call for all and one for the first row alone. x: (B, *d), B at least 2, rows that
    differ; sigma: (B,).
    """
    if len(x) < 2:
        return {}
    together, alone = denoise(x, sigma)[:1], denoise(x[:1], sigma[:1])
    return {"coupling": _ratio(_size_of(_wide(together) - _wide(alone)), _deviation(alone))}


def kind(
    ask: Callable[[Array, float], Array], x0: Array, noise: Array, stated: str, ends: tuple[float, float]
) -> Numbers:
    """Identify the prediction type of a network by how its output depends on its input at both ends of the levels.

    With slope <out, x>/<x, x>, a net of x0 has (0, 1) at (most, least) noise, of eps (1, 0), of v (0, 0), of flow
    (1, -1). kind_agreement is the cosine of its output and the right one at least noise; without training it is 0.
    ask(x, sigma) -> out, the raw output, x in the unit frame (x0 + sigma*noise)/sqrt(1 + sigma^2); x0, noise:
    (B, *d), x0 may be any plausible data; stated: the kind that the model is run as; ends: sigma of most and of least
    noise, such as (20, 0.1).   Raises InputError for an unknown kind.
    """
    if stated not in KINDS:
        raise InputError(f"kind {stated!r}: {nearest(stated, KINDS)}")
    clean, drawn, slopes = _wide(x0), _wide(noise), []
    for sigma in ends:
        x = (clean + sigma * drawn) / sqrt(1 + sigma * sigma)
        out = _wide(ask(x, sigma))
        slopes.append(_ratio(_mean(out * x), _mean(x * x)))
    far = {name: abs(slopes[0] - most) + abs(slopes[1] - least) for name, (most, least) in TRACES.items()}
    found = min(far, key=lambda name: far[name])
    right = {"x0": clean, "eps": drawn, "v": drawn - ends[1] * clean, "flow": drawn - clean}[found]
    return {
        "kind_stated": KINDS.index(stated),
        "kind_found": KINDS.index(found),
        "kind_distance": far[found],
        "kind_distance_stated": far[stated],
        "kind_agreement": _ratio(_mean(out * right), _size_of(out) * _size_of(right)),
    }


def kept(before: Array, after: Array, mask: Array, low: float = -1.0, high: float = 1.0) -> Numbers:
    """Measure the greatest change, in steps of 8 bits, of the pixels that a mask keeps. before, after: pixels in
    low ... high; mask: 1 = keep, of a shape that multiplies with them.
    """
    if not _size(before):
        return {}
    change = abs(_wide(after) - _wide(before)) * (_wide(mask) >= 1)
    return {"kept_change": float(change.max()) / (high - low) * 255}


def ema(start: Iterable[Array], averaged: Iterable[Array]) -> Numbers:
    """Measure how far an average of weights has moved from the initial weights, relative to them."""
    moved = whole = 0.0
    for first, now in zip(start, averaged, strict=True):
        moved += _mean((_wide(now) - _wide(first)) ** 2) * _size(first)
        whole += _mean(_wide(first) ** 2) * _size(first)
    return {"ema_moved": _ratio(sqrt(moved), sqrt(whole))}


def _finite(name: str, values: Array) -> Numbers:
    return {f"{name}_finite": _mean(abs(_wide(values)) < inf)} if _size(values) else {}


def _wide(values: Array) -> Array:
    """Return a tensor or an array in a precision that sums without overflow."""
    return values.astype("float64") if hasattr(values, "astype") else values.cpu().double()


def _size(values: Array) -> int:
    return int(values.numel() if hasattr(values, "numel") else values.size)


def _mean(values: Array) -> float:
    return float(_wide(values).mean()) if _size(values) else 0.0


def _size_of(values: Array) -> float:
    return sqrt(_mean(values * values))


def _deviation(values: Array) -> float:
    wide = _wide(values)
    return _size_of(wide - wide.mean())


def _ratio(value: float, by: float) -> float:
    """Divide; inf and NaN pass through, and 0/0 is 0."""
    if by == 0:
        return 0.0 if value == 0 else inf
    return value / by if isfinite(value) else value
