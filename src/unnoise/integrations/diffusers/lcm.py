"""Latent consistency models: a network that predicts the end of the flow in one step or a few.

    f(x, t) = skip*x + out*x0(x, t),   skip = s^2/((k*t)^2 + s^2),   out = k*t/sqrt((k*t)^2 + s^2)

with s = 0.5 and k the scale of its time, so that f(x, 0) = x for every network.
Source: Luo et al. 2023 (LCM), section 4.1; huggingface/diffusers, schedulers/scheduling_lcm.py (s, k); model card of
SimianLuo/LCM_Dreamshaper_v7 (the guidance scale 8).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.prediction import expand, to_x0
from unnoise.diffusion.process import Process
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.sampling.kinds import Kind

SIGMA_DATA = 0.5
CLOCK = 10.0  # k of a config without it
GUIDANCE = 8.0  # the guidance scale as an input; 1 is off


class Consistent(nn.Module):
    """Compute f from the prediction of a network. The process preserves variance: x is as in the unit frame."""

    def __init__(self, net: nn.Module, process: Process, kind: Kind, clock: float = CLOCK) -> None:
        super().__init__()
        self.net, self.process, self.kind, self.clock = net, process, kind, clock

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Return f. x: (B, c, h, w); time: (B,)."""
        x0 = to_x0(self.kind, self.net(x, time, cond), x, self.process.sigma(time))
        scaled = self.clock * time
        far = torch.hypot(scaled, torch.full_like(scaled, SIGMA_DATA))
        return expand((SIGMA_DATA / far) ** 2, x) * x + expand(scaled / far, x) * x0


def distilled(foreign: ForeignComponents) -> bool:
    """Return whether a model is a consistency model: by its guidance input, or the scheduler of its folder."""
    return _is_guided(foreign) or foreign.config("scheduler").get("_class_name") == "LCMScheduler"


def clock(foreign: ForeignComponents) -> float:
    """Return k, of the folder's scheduler if it has one."""
    return float(foreign.config("scheduler").get("timestep_scaling", CLOCK))


def advice(foreign: ForeignComponents) -> Mapping[str, Any]:
    """Return default settings: sampler and schedule of LCM, four steps, guidance as an input only."""
    distilled_guidance = GUIDANCE if _is_guided(foreign) else None
    return {
        "sampler": "lcm",
        "schedule": "lcm",
        "steps": 4,
        "guidance_scale": 1.0,
        "distilled_guidance": distilled_guidance,
    }


def _is_guided(foreign: ForeignComponents) -> bool:
    return foreign.net("unet").config.time_cond_proj_dim is not None
