"""How a network was trained: its process and what it predicts, by its scheduler's config.

x0 and the levels of an EDM network are those of diffusers, where the data has the deviation d = sigma_data. With F the
output of the network, its preconditioning and the v prediction of the unit frame give

    v = d*sqrt((1 + sigma^2)/(sigma^2 + d^2)) * (-+ F) + sigma*(1 - d^2)/(sigma^2 + d^2) * x

with a plus for `v_prediction`, and a minus for `epsilon`, the sign of Karras et al. For d = 1, v = -+ F.
Source: Karras et al. 2022, table 1; diffusers, scheduling_edm_euler.py, precondition_outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from unnoise.diffusion.prediction import expand
from unnoise.diffusion.process import EDM, Flow, Process
from unnoise.errors import InputError, nearest
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.integrations.diffusers.noise_schedule import kind_of, process_of
from unnoise.integrations.diffusers.processes import KEY, number, role_of
from unnoise.sampling.kinds import Kind

HIGHEST: Final = 1e5  # of levels in a config
LOWEST: Final = 1e-6
CLOCK: Final = 1000.0  # the time of pure noise of a flow network
SIGNS: Final[Mapping[str, float]] = {"epsilon": -1.0, "v_prediction": 1.0}  # of EDM's output as v
SPACINGS: Final = ("karras", "exponential")


@dataclass(frozen=True, slots=True)
class Preconditioning:
    """EDM's preconditioning, as a map from the network's output to v.

    Args:
        deviation: of the data.
        sign: of the output: 1 for v_prediction, -1 for epsilon.
    """

    deviation: float
    sign: float

    def __call__(self, out: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Return v. out: (B, *d); x: (B, *d), c_in times EDM's x; time: (B,), ln(sigma)/4."""
        sigma, d = torch.exp(4 * time), self.deviation
        unit, data = torch.hypot(sigma, torch.ones_like(sigma)), torch.hypot(sigma, torch.full_like(sigma, d))
        of_out, of_x = self.sign * d * unit / data, sigma * (1 - d * d) / (unit * data)
        return expand(of_out, out) * out + expand(of_x, x) * x


@dataclass(frozen=True, slots=True)
class Trained:
    """Describe the training of a network.

    Args:
        process, kind: as in `Denoiser`.
        clock: the network's time in units of the process's time.
        preconditioning: that makes the network's output a prediction of this kind; None for none.
        advice: default settings, where those of the family are of another process.
    """

    process: Process
    kind: Kind
    clock: float = 1.0
    preconditioning: "Preconditioning | None" = None
    advice: Mapping[str, Any] = field(default_factory=dict)


def trained(foreign: ForeignComponents) -> Trained:
    """Return how a U-Net was trained. Raises InputError for a scheduler that is not supported, and wrong settings."""
    role = role_of(foreign)
    if role == "edm":
        return _edm(foreign)
    if role == "flow":
        return _flow(foreign)
    return Trained(process_of(foreign), kind_of(foreign))


def _edm(foreign: ForeignComponents) -> Trained:
    config, where = foreign.config("scheduler"), foreign.where
    continuous = config.get(KEY) == "EulerDiscreteScheduler"  # k-diffusion's frame, where the data has unit variance
    stated = config.get("prediction_type") or "epsilon"
    if not isinstance(stated, str) or stated not in SIGNS:
        raise InputError(f"{where}: prediction_type {str(stated)[:80]!r}: {nearest(str(stated)[:80], SIGNS)}")
    spacing = config.get("sigma_schedule") or "karras"
    if spacing not in SPACINGS:
        raise InputError(f"{where}: sigma_schedule {str(spacing)[:80]!r}: {nearest(str(spacing)[:80], SPACINGS)}")
    deviation = 1.0 if continuous else number(foreign, "sigma_data", 0.5, 0.01, 100.0)
    table = process_of(foreign) if continuous else EDM()
    low = number(foreign, "sigma_min", table.sigma_min, LOWEST, HIGHEST)
    high = number(foreign, "sigma_max", table.sigma_max, LOWEST, HIGHEST)
    if not low < high:
        raise InputError(f"{where}: scheduler sigma_min {low:g}, sigma_max {high:g}: must be below sigma_max")
    rho = number(foreign, "rho", 7.0, 0.1, 100.0)
    return Trained(
        EDM(deviation, low, high, deviation),
        "v",
        preconditioning=Preconditioning(deviation, SIGNS[stated]),
        advice={"sampler": "dpmpp-2m", "schedule": spacing} | ({"rho": rho} if rho != 7 else {}),
    )


def _flow(foreign: ForeignComponents) -> Trained:
    if foreign.config("scheduler").get("use_dynamic_shifting"):
        raise InputError(
            f"{foreign.where}: scheduler use_dynamic_shifting true: shifts by the number of tokens, which a U-Net "
            f"does not have; set it to false, and shift to a number"
        )
    name = "flow_shift" if foreign.config("scheduler").get("use_flow_sigmas") else "shift"
    shift = number(foreign, name, 1.0, 0.01, 100.0)
    clock = number(foreign, "num_train_timesteps", CLOCK, 2, HIGHEST)
    return Trained(Flow(), "flow", clock=clock, advice={"schedule": "flow", "shift": shift})
