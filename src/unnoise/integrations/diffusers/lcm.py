"""Latent consistency models: a network that answers with the end of the flow, in one step or a few.

    f(x, t) = skip*x + out*x0(x, t),   skip = s^2/((k*t)^2 + s^2),   out = k*t/sqrt((k*t)^2 + s^2)

with s = 0.5 and k the scale of its clock, so that f(x, 0) = x whatever the network says.
Source: Luo et al. 2023 (LCM), section 4.1; huggingface/diffusers, schedulers/scheduling_lcm.py (s, k); model card of
SimianLuo/LCM_Dreamshaper_v7 (the weight 8).
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
CLOCK = 10.0  # k where a config does not say it
EMBEDDED = 8.0  # guidance as an input, counted from 1 = off


class Consistent(nn.Module):
    """Answer with f instead of what the network predicts. The process preserves variance: x is as in the unit frame."""

    def __init__(self, net: nn.Module, process: Process, kind: Kind, clock: float = CLOCK) -> None:
        super().__init__()
        self.net, self.process, self.kind, self.clock = net, process, kind, clock

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Give f. x: (B, c, h, w); time: (B,)."""
        x0 = to_x0(self.kind, self.net(x, time, cond), x, self.process.sigma(time))
        scaled = self.clock * time
        far = torch.hypot(scaled, torch.full_like(scaled, SIGMA_DATA))
        return expand((SIGMA_DATA / far) ** 2, x) * x + expand(scaled / far, x) * x0


def distilled(parts: ForeignComponents) -> bool:
    """Say whether a model is a consistency model: it takes a weight as an input, or its folder samples as such."""
    return _weighs(parts) or parts.config("scheduler").get("_class_name") == "LCMScheduler"


def clock(parts: ForeignComponents) -> float:
    """Give k, of the folder if it says one."""
    return float(parts.config("scheduler").get("timestep_scaling", CLOCK))


def advice(parts: ForeignComponents) -> Mapping[str, Any]:
    """Advise its own sampler and levels, four steps, no guidance but what it takes as an input."""
    distilled_guidance = EMBEDDED if _weighs(parts) else None
    return {
        "sampler": "lcm",
        "schedule": "lcm",
        "steps": 4,
        "guidance_scale": 1.0,
        "distilled_guidance": distilled_guidance,
    }


def _weighs(parts: ForeignComponents) -> bool:
    return parts.net("unet").config.time_cond_proj_dim is not None
