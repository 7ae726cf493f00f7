"""Weights of multistep methods: integrals over the next step of the polynomial through the last values.

A polynomial through (u_j, value_j) is sum_j L_j(u)·value_j with Lagrange's L_j, so each integral is a weighted sum:

    adams         w_j = 1/(b - a)·integral_a^b L_j(u) du                      for dy/du = value
    exponential   w_j = rate·integral_0^h e^(rate·(u - h))·L_j(u) du          for dy/du = rate·(value - y)

The nodes need not be equidistant, so a method keeps its order on every grid.
Source: Hairer, Norsett & Wanner 1993 (Solving ODEs I), section III.5; Hochbruck & Ostermann 2010, section 2.
"""

import math
from collections.abc import Sequence


def adams(nodes: Sequence[float], there: float) -> list[float]:
    """Return the mean of each Lagrange polynomial of the nodes over the step from nodes[0]; the sum is 1.

    Gauss-Legendre with two nodes is exact up to degree 3, so for up to four values.
    """
    middle, reach = (nodes[0] + there) / 2, (there - nodes[0]) / math.sqrt(12)
    return [(lagrange(nodes, j, middle - reach) + lagrange(nodes, j, middle + reach)) / 2 for j in range(len(nodes))]


def lagrange(nodes: Sequence[float], j: int, at: float) -> float:
    """Return the polynomial that is 1 at nodes[j] and 0 at the other nodes."""
    return math.prod((at - other) / (nodes[j] - other) for k, other in enumerate(nodes) if k != j)


def exponential(nodes: Sequence[float], h: float, rate: float) -> list[float]:
    """Return the weights of an exponential integrator over a step of length h > 0; the sum is 1 - e^(-rate·h).

    nodes: the positions of the values, relative to the start of the step; rate: any number but 0.
    """
    return combined(nodes, moments(len(nodes), h, rate))


def combined(nodes: Sequence[float], integrals: Sequence[float]) -> list[float]:
    """Return the integral of each Lagrange polynomial of the nodes, from the integrals of u^0, u^1, .. u^(n - 1)."""
    return [
        sum(factor * power for factor, power in zip(coefficients(nodes, j), integrals, strict=True))
        for j in range(len(nodes))
    ]


def coefficients(nodes: Sequence[float], j: int) -> list[float]:
    """Return the coefficients of the Lagrange polynomial of nodes[j], that of u^0 first."""
    found = [1.0]
    for k, other in enumerate(nodes):
        if k != j:
            width = nodes[j] - other
            found = [(low - other * high) / width for low, high in zip([0.0, *found], [*found, 0.0], strict=True)]
    return found


def moments(count: int, h: float, rate: float) -> list[float]:
    """Return  rate·integral_0^h u^k·e^(rate·(u - h)) du  for k = 0 .. count - 1.

    By parts, m_k = h^k - k/rate·m_(k-1). A short step would lose digits to cancellation and uses the Taylor series
    rate·h^(k+1)·sum_j (-rate·h)^j·k!/(k + 1 + j)!.
    """
    if abs(rate * h) > 1:
        found = [-math.expm1(-rate * h)]
        for k in range(1, count):
            found.append(h**k - k / rate * found[-1])
        return found
    return [rate * h ** (k + 1) * series(k, -rate * h) for k in range(count)]


def series(k: int, z: float) -> float:
    """Return  sum_j z^j·k!/(k + 1 + j)!  for |z| <= 1, to the last bit."""
    term = total = 1 / (k + 1)
    for j in range(1, 20):
        term *= z / (k + 1 + j)
        total += term
    return total
