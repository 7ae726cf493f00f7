"""The public names of `unnoise.sampling`."""

from unnoise.sampling.defaults import default
from unnoise.sampling.level import signal, spread
from unnoise.sampling.samplers.ab import AB
from unnoise.sampling.samplers.abm import ABM
from unnoise.sampling.samplers.consistency import LCM, Consistency
from unnoise.sampling.samplers.ddim import DDIM, DDPM, Ancestral, Euler, EulerAncestral
from unnoise.sampling.samplers.deis import DEIS
from unnoise.sampling.samplers.dpm import DPM2, DPMpp2S, DPMpp2SSDE
from unnoise.sampling.samplers.dpmpp import DPMpp2M, DPMpp3M, DPMpp3MSDE, DPMppSDE
from unnoise.sampling.samplers.edm import EDMHeun
from unnoise.sampling.samplers.gradient import GradientEstimation
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.samplers.lms import LMS
from unnoise.sampling.samplers.restart import RePaint, Restart, repaints, restarts
from unnoise.sampling.samplers.sa import SASolver
from unnoise.sampling.samplers.unipc import UniPC
from unnoise.sampling.state import Sampler, State, calls, run, start

__all__ = [
    "AB",
    "ABM",
    "DDIM",
    "DDPM",
    "DEIS",
    "DPM2",
    "IPNDM",
    "LCM",
    "LMS",
    "Ancestral",
    "Consistency",
    "DPMpp2M",
    "DPMpp2S",
    "DPMpp2SSDE",
    "DPMpp3M",
    "DPMpp3MSDE",
    "DPMppSDE",
    "EDMHeun",
    "Euler",
    "EulerAncestral",
    "GradientEstimation",
    "Heun",
    "RePaint",
    "Restart",
    "SASolver",
    "Sampler",
    "State",
    "UniPC",
    "calls",
    "default",
    "repaints",
    "restarts",
    "run",
    "signal",
    "spread",
    "start",
]
