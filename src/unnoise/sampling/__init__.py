"""Reverse noise: levels, grids, states and samplers, in plain floats; it runs on floats, numpy and torch alike."""

from unnoise.sampling.choose import default
from unnoise.sampling.level import signal, spread
from unnoise.sampling.samplers.consistency import LCM, Consistency
from unnoise.sampling.samplers.ddim import DDIM, DDPM, Ancestral, Euler, EulerAncestral
from unnoise.sampling.samplers.dpmpp import DPMpp2M, DPMpp3M, DPMppSDE
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.state import Sampler, State, calls, run, start

__all__ = [
    "DDIM",
    "DDPM",
    "IPNDM",
    "LCM",
    "Ancestral",
    "Consistency",
    "DPMpp2M",
    "DPMpp3M",
    "DPMppSDE",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Sampler",
    "State",
    "calls",
    "default",
    "run",
    "signal",
    "spread",
    "start",
]
