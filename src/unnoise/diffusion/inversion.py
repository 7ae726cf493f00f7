"""Inversion (DDIM inversion): compute the noise of given data by the probability flow on a rising grid.

    x0 -> x = signal·x0 at the lowest level above 0 -> ... -> the noise at the first level of the grid

A clean x0 does not depend on the noise, so eps-hat = E[eps | x0] = 0 at sigma = 0, exactly, without a network call.
The step from 0 to the lowest level is the DDIM step with that prediction. It neglects the growth of eps-hat along the
step, -spread·(the score), an error of sigma^2/2·(the score) at the lowest level, as large as that of the last step of
`generate`. Every other step is the sampler's own, of its own order.
Source: Song et al. 2021a (DDIM), section 4.3 and eq. 14; Song et al. 2021b (score SDE), section 4.3.
"""

from collections.abc import Sequence

from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.loop import LoopCallback, run
from unnoise.diffusion.noise import draw
from unnoise.errors import InputError
from unnoise.sampling.grid import explicit
from unnoise.sampling.level import signal
from unnoise.sampling.state import Sampler, start


def invert(
    sampler: Sampler[Tensor, Tensor],
    denoise: Denoise,
    x0: Tensor,
    grid: Sequence[float],
    callback: LoopCallback | None = None,
) -> Tensor:
    """Return the noise from which a run of the sampler over the grid ends at x0.

    Args:
        sampler: deterministic.
        denoise: the denoiser.
        x0: (B, *d), finite.
        grid: of that run; descends, with at least two levels above 0.
        callback: called with the state and x0 after each query.

    Returns:
        (B, *d) in the unit frame.

    Raises:
        InputError: for an argument that is not as above.
        NonFiniteError: as `run` does, with the numbers of the rows in place of seeds.
    """
    if sampler.stochastic:
        raise InputError(
            f"sampler {sampler!r}: inversion needs a deterministic sampler, and this one adds noise; use ddim or heun"
        )
    if not x0.isfinite().all():
        raise InputError("x0: contains NaN or infinity")
    rising = [level for level in reversed(explicit(grid)) if level > 0]
    if len(rising) < 2:
        raise InputError(f"grid {list(grid)}: at least 2 levels above 0, for the first step and the noise")
    return run(sampler, denoise, start(signal(rising[0]) * x0, rising), draw, range(len(x0)), callback)
