"""The denoiser: a raw net with its native frame and time, wrapped into the unit frame."""

from collections.abc import Sequence, Sized
from dataclasses import replace
from math import inf
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.jump import Jump, combine, next_level, place, point_weights
from unnoise.diffusion.prediction import expand, known_kind, to_x0
from unnoise.diffusion.process import Process
from unnoise.errors import InputError
from unnoise.sampling.kinds import Kind


class Denoise(Protocol):
    """A denoiser with its conditioning fixed, as loops, guidance and wrappers use it."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d)."""


class Denoiser(nn.Module):
    """A net, the process it was trained on and its kind of prediction, as a denoiser in the unit frame.

    Levels above sigma_max of the process are clamped to it, as the net was not trained there. Below sigma_min only the
    time is clamped, so that at sigma = 0 the result is x (kinds eps, v and flow).

    Args:
        net: (x: (B, *d) in the native frame, time: (B,), cond) -> out: (B, *d); cond is what the net takes, with B
            rows or none: a Conditioning for the nets of this program.
            time is native, or sigma/(1 + sigma), 0 to 1, for a net whose `unit_clock` is true. A net whose `points` is
            n above 1 returns n predictions along the jump to cond.end, (B, n * channels, *d), see jump.py.
        process: the forward process of the training.
        kind: of the prediction `out`.
    """

    def __init__(self, net: nn.Module, process: Process, kind: Kind) -> None:
        super().__init__()
        known_kind(kind)
        self.net, self.process, self.kind = net, process, kind

    def predict(self, x: Tensor, sigma: Tensor, cond: Sized) -> Tensor:
        """Run the net. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> out: (B, *d) of its kind.

        Of a net with points, it is the one prediction of the jump, with which DDIM's step ends where the policy does.

        Raises InputError when sigma or cond does not have B rows, the net returns another shape, or the end of the jump
        is missing.
        """
        out = self._run(x, sigma, cond)
        if self.points == 1:
            return out[:, 0]
        return combine(out, point_weights(self.points, place(sigma), _end(cond)))

    def jump(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Jump:
        """Return the policy of a call, from x to cond.end. Arguments and errors are those of `predict`."""
        sigma = sigma.clamp(max=self.process.sigma_max)
        out = self._run(x, sigma, cond)
        return Jump(x, place(sigma), _end(cond), to_x0(self.kind, out, x[:, None], sigma))

    @property
    def points(self) -> int:
        """The number of predictions along a jump that the net returns."""
        return int(getattr(self.net, "points", 1))

    @property
    def takes_end(self) -> bool:
        """Whether the net takes the end of a jump, cond.end."""
        return bool(getattr(self.net, "takes_end", False))

    def _run(self, x: Tensor, sigma: Tensor, cond: Sized) -> Tensor:
        """Run the net, and return its predictions: (B, n, *d)."""
        if sigma.shape != x.shape[:1]:
            raise InputError(f"sigma {tuple(sigma.shape)}: one level for each of the {len(x)} rows of x")
        if len(cond) not in (0, len(x)):
            raise InputError(f"cond of {len(cond)} rows: must have as many as x, {len(x)}")
        time = self.process.time(sigma)
        a, b = self.process.scales(time)
        if getattr(self.net, "unit_clock", False):
            time = b / (a + b)
        time = time.to(torch.promote_types(x.dtype, torch.float32))
        out: Tensor = self.net(expand(torch.hypot(a, b), x) * x, time, cond)
        expected = x.shape if self.points == 1 else (len(x), self.points * x.shape[1], *x.shape[2:])
        if out.shape != expected:
            what = "the shape of x" if self.points == 1 else f"{self.points} times the channels of x"
            raise InputError(f"net: returned {tuple(out.shape)}; it must return {what}, {tuple(expected)}")
        return out.reshape(len(x), self.points, *x.shape[1:])

    def forward(self, x: Tensor, sigma: Tensor, cond: Sized) -> Tensor:
        """Return the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d).

        Raises InputError where `predict` does, and for kind eps at sigma = inf if the process includes it.
        """
        sigma = sigma.clamp(max=self.process.sigma_max)
        out = self.predict(x, sigma, cond)
        return to_x0(self.kind, out, x, sigma, ends=self.process.sigma_max < inf)

    def bind(self, cond: Sized, grid: Sequence[float] = ()) -> Denoise:
        """Fix the conditioning.

        grid: of the run, for a net that takes the end of a jump, which is then the next lower level of the grid.
        """

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            if grid and self.takes_end and isinstance(cond, Conditioning):
                return self(x, sigma, replace(cond, end=place(next_level(grid, sigma))))
            return self(x, sigma, cond)

        return denoise


def _end(cond: Sized) -> Tensor:
    end = getattr(cond, "end", None)
    if not isinstance(end, Tensor):
        raise InputError("cond.end: missing; a net with points needs the unit clock at the end of its jump")
    return end
