"""The default sampler and grid for a number of network calls, chosen by measurement.

Error per coordinate against the exact solution: a geometric mean over thirteen Gaussian mixtures of unit variance (2 to
64 dimensions, sharp and soft modes, flat and falling spectra), 64 points each. Every other sampler is given at the best
grid of the bench for each number of calls, and at its best order.

    calls                 3      4      5      6      8     10     12     16     20     50
    from sigma = inf
    DDIM              .3125  .2363  .1963  .1662  .1228  .0988  .0828  .0641  .0502  .0195
    Heun              .3526  .3526  .1510  .1510  .0823  .0476  .0300  .0161  .0115  .0023
    DPM-Solver++ 2M   .3125  .1860  .1311  .0916  .0619  .0412  .0292  .0204  .0138  .0026
    UniPC             .3125  .1795  .1314  .0944  .0554  .0352  .0241  .0127  .0084  .0010
    DEIS              .3125  .1970  .1584  .1218  .0697  .0393  .0252  .0132  .0071  .0007
    IPNDM             .2097  .1311  .0877  .0616  .0318  .0180  .0112  .0046  .0025  .0002
    the default       .1993  .1166  .0773  .0598  .0350  .0210  .0142  .0044  .0023  .0002
    from sigma = 14.6, no call below 0.03
    DDIM              .2692  .2083  .1697  .1397  .1067  .0864  .0725  .0538  .0415  .0173
    DPM-Solver++ 2M   .2140  .1317  .0918  .0755  .0463  .0286  .0179  .0110  .0082  .0020
    UniPC             .2030  .1284  .0876  .0632  .0320  .0168  .0094  .0054  .0035  .0013
    DEIS              .2303  .1499  .1152  .0609  .0232  .0139  .0099  .0060  .0039  .0023
    IPNDM             .1878  .1163  .0767  .0542  .0282  .0171  .0116  .0050  .0036  .0023
    the default       .1753  .1025  .0679  .0420  .0237  .0111  .0071  .0044  .0030  .0004

From inf, at 8 to 12 calls, IPNDM of order 3 has the lower mean, which a few points between two modes dominate. The
error of the median point is 1.5 to 1.7 times lower with the default, and so is the error of images of the embedded
model, with guidance and without.
Source: tests/sampling/bench.py prints these tables, and others with random errors in every prediction.
"""

import math
from typing import Any

from unnoise.errors import InputError
from unnoise.sampling.grid import flow_shift, karras
from unnoise.sampling.samplers.ab import AB
from unnoise.sampling.state import Sampler

MOST = 1 << 62
NARROW = 40.0  # the highest sigma_max of a narrow range; that of Stable Diffusion is 14.6
LOWEST = 0.03  # the lowest level at which a network call still helps there
Choice = tuple[int, Sampler[Any, Any]]  # (largest number of calls, sampler)
CHOICES: dict[str, tuple[Choice, ...]] = {
    "narrow": ((5, AB(2, rho=1.0)), (8, AB()), (24, AB(3, rho=2.0, of="eps")), (MOST, AB(4, rho=1.0))),
    "wide": ((5, AB(2, rho=1.0)), (12, AB()), (MOST, AB(4, rho=1.0))),
}


def default(calls: int, sigma_max: float, sigma_min: float) -> tuple[Sampler[Any, Any], tuple[float, ...]]:
    """Return the sampler and the grid with the lowest measured error for a number of network calls.

    Args:
        calls: from 1 up.
        sigma_max, sigma_min: the range of the model, 0 <= sigma_min < sigma_max <= inf.

    Raises InputError for an empty range or less than one call.
    """
    if not isinstance(calls, int) or calls < 1:
        raise InputError(f"calls {calls!r}: a whole number from 1 up")
    choices = CHOICES["narrow" if sigma_max <= NARROW else "wide"]
    sampler = next(sampler for most, sampler in choices if calls <= most)
    if isinstance(sampler, AB) and sampler.of == "eps":
        return sampler, karras(calls, sigma_max, max(sigma_min, min(LOWEST, sigma_max / 100)))
    return sampler, measured(calls, sigma_max, sigma_min)


def measured(steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0) -> tuple[float, ...]:
    """Space the levels as measured to be best: flow time with shift 3 and rho 2.

    Ten steps from inf call the network at  inf 12.8 5.33 2.88 1.69 1.00 0.57 0.30 0.12 0.030.
    """
    return flow_shift(steps, 3.0, 2.0, sigma_max, sigma_min)
