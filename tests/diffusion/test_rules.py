"""Methods of guidance: properties of all of them, and the effect of each on known predictions."""

import math
from collections.abc import Callable

import pytest
import torch
from diffusion.gaussians import DATA, NEGATIVE, NULL, gaussian, inputs, labels, means, model
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance import apg, autoguide, cfg, cfgpp, perpneg, threshold
from unnoise.errors import InputError

GRID = (math.inf, 40.0, 2.0, 0.7, 0.05, 0.0)
SHAPES = ((2,), (3, 7), (2, 3, 4), (2, 3, 4, 5))
W, LOW, SHARE = torch.tensor([[1.0, 2.0, 7.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.2]], dtype=torch.float64)
INF = torch.full((4,), math.inf)
Make = Callable[[Denoiser, slice], Denoise]


def conds(rows: slice) -> tuple[Conditioning, Conditioning, Conditioning]:
    data, null, negative = (labels(*[label] * 4).rows(rows) for label in (DATA, NULL, NEGATIVE))
    return data, null, negative


# Every method with every parameter for each of four samples, built for some of them.
RULES: dict[str, Make] = {
    "cfg": lambda m, r: cfg(m, *conds(r)[:2], W[r], (LOW[r], INF[r]), SHARE[r]),
    "cfgpp": lambda m, r: cfgpp(m, *conds(r)[:2], SHARE[r], GRID, (LOW[r], INF[r])),
    "apg": lambda m, r: apg(m, *conds(r)[:2], W[r], SHARE[r], 1 + W[r], (LOW[r], INF[r])),
    "perpneg": lambda m, r: perpneg(m, *conds(r), W[r], SHARE[r], (LOW[r], INF[r])),
    "autoguide": lambda m, r: autoguide(m.bind(conds(r)[0]), m.bind(conds(r)[1]), W[r]),
    "threshold": lambda m, r: threshold(m.bind(conds(r)[0]), 0.3 + W[r] / 9, SHARE[r]),
}
# Every method with parameters that are off.
OFF: dict[str, Make] = {
    "cfg": lambda m, r: cfg(m, *conds(r)[:2], 1.0, rescale=0.7),
    "cfgpp": lambda m, r: cfgpp(m, *conds(r)[:2], 0.6, GRID, (50.0, math.inf)),
    "apg": lambda m, r: apg(m, *conds(r)[:2], 1.0, 0.5, 2.0),
    "perpneg": lambda m, r: perpneg(m, *conds(r), 1.0, 3.0),
    "autoguide": lambda m, r: autoguide(m.bind(conds(r)[0]), m.bind(conds(r)[1]), 1.0),
    "threshold": lambda m, r: threshold(m.bind(conds(r)[0]), math.inf),
}
ROWS = slice(0, 4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_a_sample_is_guided_alone_as_in_its_batch(rule: str, shape: tuple[int, ...]) -> None:
    (x, sigma), made = inputs(shape=shape), model(at=means(shape))
    batch = RULES[rule](made, ROWS)(x, sigma)
    assert batch.shape == x.shape
    for row in (slice(i, i + 1) for i in range(4)):
        torch.testing.assert_close(RULES[rule](made, row)(x[row], sigma[row]), batch[row], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_method_acts(rule: str) -> None:
    (x, sigma), made = inputs(), model()
    plain = made.bind(labels(*[DATA] * 4))(x, sigma)
    assert not torch.allclose(RULES[rule](made, ROWS)(x, sigma)[2], plain[2], atol=1e-3)


@pytest.mark.parametrize("rule", OFF)
def test_off_is_bit_for_bit_the_conditional_x0(rule: str) -> None:
    (x, sigma), made = inputs(), model()
    assert torch.equal(OFF[rule](made, ROWS)(x, sigma), made.bind(labels(*[DATA] * 4))(x, sigma))


@pytest.mark.parametrize("rule", ["cfg", "apg", "perpneg", "autoguide"])
def test_a_sample_of_scale_one_is_unchanged_beside_guided_ones(rule: str) -> None:
    (x, sigma), made = inputs(), model()
    assert torch.equal(RULES[rule](made, ROWS)(x, sigma)[0], made.bind(labels(*[DATA] * 4))(x, sigma)[0])


@pytest.mark.parametrize("rule", RULES)
def test_single_precision_agrees(rule: str) -> None:
    (x, sigma), made = inputs(), model()
    found = RULES[rule](model(at=tuple(mean.float() for mean in means())), ROWS)(x.float(), sigma.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), RULES[rule](made, ROWS)(x, sigma), rtol=0, atol=2e-4)


@pytest.mark.parametrize("rows", [1, 4])
def test_every_prediction_comes_from_one_call(rows: int) -> None:
    (x, sigma), made, cond = inputs(rows), model(), labels(*[DATA] * rows)
    apg(made, cond, labels(NULL), 3.0)(x, sigma)
    perpneg(made, cond, labels(NULL), labels(NEGATIVE), 3.0)(x, sigma)
    cfgpp(made, cond, labels(NULL), 0.6, GRID)(x, sigma)
    perpneg(made, cond, labels(NULL), labels(NEGATIVE), 3.0, interval=(90.0, 99.0))(x, sigma)
    assert made.net.calls == [(n * rows, 3, 4) for n in (2, 3, 2, 1)]  # type: ignore[union-attr]


def dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(1)


def predictions() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, sigma = inputs()
    return x, sigma, *(model()(x, sigma, labels(*[label] * 4)) for label in (DATA, NULL))


def projected(**options: object) -> Tensor:
    x, sigma, *_ = predictions()
    return apg(model(), labels(*[DATA] * 4), labels(NULL), 5.0, **options)(x, sigma)  # type: ignore[arg-type]


def test_apg_that_keeps_the_parallel_part_is_cfg() -> None:
    x, sigma, *_ = predictions()
    expected = cfg(model(), labels(*[DATA] * 4), labels(NULL), 5.0)(x, sigma)
    torch.testing.assert_close(projected(eta=1.0), expected, rtol=0, atol=1e-12)


def test_apg_adds_only_what_is_orthogonal_to_the_conditional_x0() -> None:
    _, _, plain, base = predictions()
    added = projected() - plain
    torch.testing.assert_close(dot(added, plain), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(dot(added, plain - base), dot(added, added) / 4)  # and all of it, times scale - 1
    assert (dot(added, added) > 1e-3).all()
    whole, part = projected(eta=1.0), projected(eta=torch.tensor([0.0, 0.25, 0.5, 1.0]))
    share = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(part, projected() + share * (whole - projected()))


def test_apg_bounds_the_norm_of_the_change_before_it_is_scaled() -> None:
    _, _, plain, base = predictions()
    length = (plain - base).flatten(1).norm(dim=1)
    added = (projected(eta=1.0, norm=length * torch.tensor([0.5, 0.9, 1.1, 9.0])) - plain).flatten(1).norm(dim=1)
    torch.testing.assert_close(added, 4 * length * torch.tensor([0.5, 0.9, 1.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(projected(norm=0.0), plain)


def apart(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """Make the means of data, null and negative, where negative - null is parallel or orthogonal to data - null."""
    data, null, other = means()
    axis = data - null
    if kind == "parallel":
        return data, null, null - 0.7 * axis
    return data, null, null + other - (other * axis).sum() / axis.square().sum() * axis


def pushed_aside(at: tuple[Tensor, ...], strength: float) -> Tensor:
    x, sigma = inputs()
    return perpneg(model(at=at), labels(*[DATA] * 4), labels(NULL), labels(NEGATIVE), 5.0, strength)(x, sigma)


def test_a_negative_that_is_parallel_does_nothing() -> None:
    x, sigma = inputs()
    at = apart("parallel")
    expected = cfg(model(at=at), labels(*[DATA] * 4), labels(NULL), 5.0)(x, sigma)
    torch.testing.assert_close(pushed_aside(at, 3.0), expected, rtol=0, atol=1e-9)


def test_a_negative_that_is_orthogonal_is_a_null_of_its_own() -> None:
    x, sigma = inputs()
    at = apart("orthogonal")
    expected = cfg(model(at=at), labels(*[DATA] * 4), labels(NEGATIVE), 5.0)(x, sigma)
    torch.testing.assert_close(pushed_aside(at, 1.0), expected, rtol=0, atol=1e-9)


def test_perpneg_is_the_published_formula_with_its_weight_converted() -> None:
    x, sigma = inputs()
    plain, base, bad = (model()(x, sigma, labels(*[label] * 4)) for label in (DATA, NULL, NEGATIVE))
    shared = dot(bad - base, plain - base) / dot(plain - base, plain - base)
    side = bad - base - shared[:, None, None] * (plain - base)
    expected = base + 5.0 * (plain - base - 0.8 * side)  # Armandpour et al. 2023, with its own weight 0.8
    torch.testing.assert_close(pushed_aside(means(), 0.8 * 5 / 4), expected)


def test_an_empty_prompt_leaves_the_whole_negative() -> None:
    data, _, other = means()
    x, sigma = inputs()
    expected = cfg(model(at=(data, data, other)), labels(*[DATA] * 4), labels(NEGATIVE), 5.0)(x, sigma)
    torch.testing.assert_close(pushed_aside((data, data, other), 1.0), expected, rtol=0, atol=1e-9)


def constant(x0: Tensor) -> Denoise:
    return lambda x, sigma: x0


@pytest.mark.parametrize("quantile", [0.0, 0.9, 0.995, 1.0])
def test_threshold_changes_only_x0_beyond_the_limit(quantile: float) -> None:
    x0 = (
        torch.randn(4, 3, 40, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.1, 1, 5, 50])[:, None, None]
    )
    limit = torch.tensor([1.0, 100.0, 2.0, 3.0])
    found = threshold(constant(x0), limit, quantile)(x0, torch.ones(4))
    assert torch.equal(found[:2], x0[:2])
    assert (found.flatten(1).abs().amax(1) <= limit * (1 + 1e-6)).all()
    edge = torch.quantile(x0.abs().flatten(1), quantile, 1).maximum(limit)[:, None, None]
    torch.testing.assert_close(found, x0.clamp(-edge, edge) * limit[:, None, None] / edge)


def test_the_highest_quantile_only_scales() -> None:
    x0 = 7 * torch.randn(2, 30, generator=torch.Generator().manual_seed(2))
    found = threshold(constant(x0), 2.0, 1.0)(x0, torch.ones(2))
    torch.testing.assert_close(found, x0 * 2 / x0.abs().amax(1, keepdim=True))


def test_threshold_bounds_a_guided_x0() -> None:
    x, sigma = inputs()
    guide = cfg(model(), labels(*[DATA] * 4), labels(NULL), 30.0)
    limit = gaussian(means()[0]).means.abs().max().item() + 3 * 0.6
    assert guide(x, sigma).abs().max() > 2 * limit
    assert threshold(guide, limit)(x, sigma).abs().max() <= limit * (1 + 1e-12)


def test_wrong_arguments_are_refused() -> None:
    made, cond, null = model(), labels(DATA, DATA), labels(NULL)
    for message, make in (
        ("eta -0.1: a number in", lambda: apg(made, cond, null, 2.0, -0.1)),
        ("norm -1.0: a number in", lambda: apg(made, cond, null, 2.0, norm=-1.0)),
        ("norm nan", lambda: apg(made, cond, null, 2.0, norm=math.nan)),
        ("guidance_scale inf: a finite number", lambda: apg(made, cond, null, math.inf)),
        ("scale 1.5: a number in", lambda: cfgpp(made, cond, null, 1.5, GRID)),
        (r"grid\[1\] is 3: a grid descends", lambda: cfgpp(made, cond, null, 0.5, (1.0, 3.0))),
        ("sigma 0.7: cfgpp needs .* ends at 0.7", lambda: cfgpp(made, cond, null, 0.5, (9.0, 0.7))(*rows(0.7))),
        ("negative_scale nan", lambda: perpneg(made, cond, null, null, 2.0, math.nan)),
        ("negative of 3 rows: 1, or as many as cond, 2", lambda: perpneg(made, cond, null, labels(2, 2, 2), 2.0)),
        ("null of 3 rows", lambda: perpneg(made, cond, labels(1, 1, 1), null, 2.0)),
        ("the lower one first", lambda: perpneg(made, cond, null, null, 2.0, interval=(3.0, 1.0))),
        ("limit 0: a number above 0", lambda: threshold(made.bind(cond), 0)),
        ("quantile 1.1: a number in", lambda: threshold(made.bind(cond), 1.0, 1.1)),
        (r"\(3,\) values for 2 samples", lambda: threshold(made.bind(cond), torch.ones(3))(*rows(0.7))),
    ):
        with pytest.raises(InputError, match=message):
            make()


def rows(level: float) -> tuple[Tensor, Tensor]:
    return inputs(2)[0], torch.full((2,), level, dtype=torch.float64)
