"""The sampling loop: call the denoiser, advance the sampler, repeat. The caller decides about gradients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.noise import Draw
from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling.state import Sampler, State, query

LoopCallback = Callable[[State[Tensor], Tensor], None]


def run(
    sampler: Sampler[Tensor, Tensor],
    denoise: Denoise,
    state: State[Tensor],
    draw: Draw,
    seeds: Sequence[int],
    callback: LoopCallback | None = None,
) -> Tensor:
    """Advance a state to its end and return x: (B, *d). The state may be new, or one that was paused.

    seeds: one for each row. Noise is drawn for each query of a stochastic sampler. callback(state, x0) is called after
    each query with the state and the prediction at it, for progress and previews.
    Raises NonFiniteError at the first prediction with NaN or infinity, and InputError unless seeds fit the rows.
    """
    if len(seeds) != len(state.x):
        raise InputError(f"{len(seeds)} seeds: one for each of the {len(state.x)} rows")
    while not state.done:
        x0 = denoise(state.x, levels(state))
        if not x0.isfinite().all():
            raise NonFiniteError(
                f"step {state.i} of {len(state.grid) - 1}, sigma {state.level:g}, dtype {x0.dtype}: "
                f"NaN or infinity in the samples of seeds {_broken(x0, seeds)}"
            )
        if callback is not None:
            callback(state, x0)
        noise = draw(tuple(seeds), query(sampler, state), state.x) if sampler.stochastic else None
        state = sampler.advance(state, x0, noise)
    return state.x


def levels(state: State[Tensor]) -> Tensor:
    """Return the level of a state for each of its rows: (B,), in float32 at least."""
    dtype = torch.promote_types(state.x.dtype, torch.float32)
    return torch.full((len(state.x),), state.level, dtype=dtype, device=state.x.device)


def _broken(x0: Tensor, seeds: Sequence[int]) -> list[int]:
    return [seed for seed, row in zip(seeds, x0, strict=True) if not row.isfinite().all()]
