"""The beta distribution on [0, 1]: its cumulative distribution function and its quantile function.

    I_x(a, b) = 1/B(a, b)·integral from 0 to x of t^(a - 1)·(1 - t)^(b - 1)      B = gamma(a)·gamma(b)/gamma(a + b)

By its continued fraction, with d[2m] = m·(b - m)·x/((a + 2m - 1)·(a + 2m)) and
d[2m + 1] = -(a + m)·(a + b + m)·x/((a + 2m)·(a + 2m + 1)):

    I_x(a, b) = x^a·(1 - x)^b/(a·B)/(1 + d[1]/(1 + d[2]/(1 + ...)))      fast where x < (a + 1)/(a + b + 2)

Source: NIST Digital Library of Mathematical Functions, 8.17.22 and 8.17.23; 8.17.4 for the other side.
"""

import math

from unnoise.errors import InputError

LARGEST = 100.0  # of a and b, where TERMS terms still give all digits
TERMS = 80
ROUNDS = 200


def cdf(x: float, a: float, b: float) -> float:
    """Return the probability that Beta(a, b) is below x in [0, 1]; a, b in (0, LARGEST]."""
    _shapes(a, b)
    if not 0 <= x <= 1:
        raise InputError(f"x {x!r}: a number from 0 to 1")
    if x > (a + 1) / (a + b + 2):
        return 1 - cdf(1 - x, b, a)
    tail = 1.0
    for n in range(TERMS, 0, -1):
        m = n // 2
        up = -(a + m) * (a + b + m) if n % 2 else m * (b - m)
        tail = 1 + up * x / ((a + n - 1) * (a + n)) / tail
    return x * (1 - x) * _density(x, a, b) / (a * tail) if x else 0.0


def quantile(p: float, a: float, b: float) -> float:
    """Return the x with cdf(x, a, b) = p, for p in [0, 1] and a, b in (0, LARGEST].

    Newton's method, with bisection where a step would leave the bracket. Raises InputError outside of the ranges.
    """
    _shapes(a, b)
    if not 0 <= p <= 1:
        raise InputError(f"p {p!r}: a probability from 0 to 1")
    if p > 0.5:
        return 1 - quantile(1 - p, b, a)
    if p == 0:
        return 0.0
    low, high = 0.0, 1.0
    x = math.exp(min((math.log(p * a) + _log_beta(a, b)) / a, math.log(0.5)))  # of x^a/(a·B) = p
    for _ in range(ROUNDS):
        if x == 0:
            break
        miss = cdf(x, a, b) - p
        low, high = (low, x) if miss > 0 else (x, high)
        step = miss / _density(x, a, b)
        if abs(step) <= 1e-12 * x:
            return x - step
        x = x - step if low < x - step < high else (low + high) / 2
    return x


def _density(x: float, a: float, b: float) -> float:
    return math.exp((a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _shapes(a: float, b: float) -> None:
    for name, value in (("a", a), ("b", b)):
        if not 0 < value <= LARGEST:
            raise InputError(f"{name} {value!r}: a shape parameter above 0, at most {LARGEST:g}")
