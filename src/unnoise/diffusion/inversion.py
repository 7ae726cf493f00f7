"""From data back to the noise that they come from: the probability flow, run on a rising grid.

    x0 -> x = signal·x0 at the lowest level above 0 -> ... -> the noise at the first level of the grid

A clean x0 tells nothing of the noise, so eps-hat = E[eps | x0] = 0 at sigma = 0, exactly, and no network need be asked:
the step from 0 to the lowest level is the DDIM step with that prediction. It leaves out what eps-hat grows to on the
way, -spread·(the score), an error of sigma^2/2·(the score) at the lowest level and the counterpart of the last step of
`generate`, which leaves out as much. Every other step is the sampler's own, of its own order.
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
    watch: LoopCallback | None = None,
) -> Tensor:
    """Give the noise (B, *d) in the unit frame from which a run over the same descending grid makes x0: (B, *d).

    grid: as for that run; its levels above 0 are walked upwards. watch(state, x0) is called after each query.
    Raises InputError for a stochastic sampler, which has no way back, for a grid that does not descend or has fewer than
    two levels above 0, and for an x0 that is not finite; NonFiniteError as `run` does, a row's number being its seed.
    """
    if sampler.stochastic:
        raise InputError(
            f"sampler {sampler!r}: it draws fresh noise, which no way back finds; take a deterministic one"
        )
    if not x0.isfinite().all():
        raise InputError("x0: holds NaN or infinity")
    rising = [level for level in reversed(explicit(grid)) if level > 0]
    if len(rising) < 2:
        raise InputError(f"grid {list(grid)}: at least 2 levels above 0, where to begin and where the noise is")
    return run(sampler, denoise, start(signal(rising[0]) * x0, rising), draw, range(len(x0)), watch)
