"""The only place where frames meet: a raw net in its native clock becomes a denoiser in the unit frame."""

from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.prediction import Kind, expand, known_kind, to_x0
from unnoise.diffusion.process import Process
from unnoise.errors import InputError


class Denoise(Protocol):
    """What samplers' drivers and wrappers see of a model."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Give the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d)."""


class Denoiser(nn.Module):
    """A net, the process it was trained on and the kind of its prediction: a denoiser in the unit frame.

    net(x: (B, *d) in the native frame, time: (B,), cond: Cond) -> out: (B, *d).
    A level above the process's sigma_max is answered as sigma_max is: the net has seen nothing noisier. Below
    sigma_min only the clock stays at its end, so that at sigma = 0 the answer is x (kinds eps, v and flow).
    """

    def __init__(self, net: nn.Module, process: Process, kind: Kind) -> None:
        super().__init__()
        known_kind(kind)
        self.net, self.process, self.kind = net, process, kind

    def predict(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Ask the net. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> out: (B, *d) of its kind.

        Raises InputError when sigma or cond does not have B rows, or the net answers with another shape.
        """
        if sigma.shape != x.shape[:1]:
            raise InputError(f"sigma {tuple(sigma.shape)}: one level for each of the {len(x)} rows of x")
        if len(cond) not in (0, len(x)):
            raise InputError(f"cond of {len(cond)} rows: as many as x, {len(x)}")
        time = self.process.time(sigma)
        a, b = self.process.scales(time)
        clock = time.to(torch.promote_types(x.dtype, torch.float32))
        out: Tensor = self.net(expand(torch.hypot(a, b), x) * x, clock, cond)
        if out.shape != x.shape:
            raise InputError(f"net: answers {tuple(out.shape)} where x is {tuple(x.shape)}")
        return out

    def forward(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Give the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d).

        Raises InputError where `predict` does, and for kind eps at inf if the process goes there.
        """
        sigma = sigma.clamp(max=self.process.sigma_max)
        return to_x0(self.kind, self.predict(x, sigma, cond), x, sigma)

    def bind(self, cond: Conditioning) -> Denoise:
        """Fix the conditions."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self(x, sigma, cond)

        return denoise
