"""Every scheduler of diffusers that samples pixels or latents, with the settings that a user can give it.

All have Stable Diffusion's schedule and prediction of eps, except those without such a schedule. `LEFT_OUT` says why
the others are missing, so that a class that a new version brings cannot be missed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import diffusers.schedulers as library
import numpy as np
from diffusers.schedulers.scheduling_utils import AysSchedules
from peers import HIGH, LOW, SD, TABLE, Levels, Peer, Settings

from unnoise.sampling import spread
from unnoise.sampling.registry import grid

SPACINGS: dict[str, Settings] = {
    "linspace": {"timestep_spacing": "linspace"},
    "leading": {"timestep_spacing": "leading", "steps_offset": 1},
    "trailing": {"timestep_spacing": "trailing"},
}
CURVES: dict[str, Settings] = {
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
}


def peers() -> list[Peer]:
    """List the deterministic ones; the first of each class is its own default with Stable Diffusion's schedule."""
    listed = [*first_order(), *multistep(), *two_calls(), *elsewhere(), *ipndm()]
    return list({peer.key(): peer for peer in reversed(listed)}.values())[::-1]


def grids(spacings: bool = True, curves: bool = True) -> dict[str, Settings]:
    """Return the settings of the grids that a class has by name, its own default first."""
    return {"default": {}} | (SPACINGS if spacings else {}) | (CURVES if curves else {})


def product(name: str, grid: Mapping[str, Settings], methods: Mapping[str, Settings], **rest: Any) -> Iterator[Peer]:
    """List a class with each method on each grid."""
    for means, method in methods.items():
        for spacing, settings in grid.items():
            yield Peer(name, f"{means} {spacing}".strip(), settings={**SD, **method, **settings}, **rest)


def ays(steps: int) -> list[float]:
    """Return the published levels of Align Your Steps for Stable Diffusion, interpolated as its authors say, and 0."""
    known = np.log([*AysSchedules["StableDiffusionSigmas"][:-1], LOW])
    places = np.linspace(0, len(known) - 1, steps + 1)[:-1]
    return [float(v) for v in np.exp(np.interp(places, np.arange(len(known)), known))] + [0.0]


def ays_times(steps: int) -> list[int]:
    """Return the times of those levels."""
    times = np.interp(np.log(ays(steps)[:-1]), np.log(TABLE), np.arange(1000)).round().astype(int)
    return [int(t) for t in times]


def places(shift: float) -> Levels:
    """Return a grid of flow matching, as its models use it, that starts at Stable Diffusion's highest level."""
    top = HIGH / (HIGH + 1)
    raw, low = (place / (shift - (shift - 1) * place) for place in (top, LOW / (LOW + 1)))

    def levels(steps: int) -> list[float]:
        even = np.linspace(raw, max(raw / steps, low), steps)
        return [float(v) for v in shift * even / (1 + (shift - 1) * even)]

    return levels


def ays_places(steps: int) -> list[float]:
    return [v / (1 + v) for v in ays(steps)[:-1]]


def sigma_of(levels: Levels) -> Levels:
    """Return a grid of flow matching as sigmas, with 0 at its end."""
    return lambda steps: [v / (1 - v) for v in levels(steps)] + [0.0]


def first_order() -> Iterator[Peer]:
    ends = {"": {"clip_sample": False, "set_alpha_to_one": False}, "to one": {"clip_sample": False}}
    yield from product("DDIMScheduler", grids(curves=False), ends)
    yield from product("DDIMParallelScheduler", {"default": {}}, {"": {"clip_sample": False}})
    yield from product(
        "CogVideoXDDIMScheduler", grids(curves=False), {"": {"clip_sample": False, "snr_shift_scale": 1.0}}
    )
    yield from product("TCDScheduler", {"default": {}}, {"eta 0": {}}, step={"eta": 0.0})
    yield from product(
        "EulerDiscreteScheduler", grids(), {"": {}, "log-linear": {"interpolation_type": "log_linear"}}, frame="ve"
    )
    for means, levels in {"AYS": ays, "flow": sigma_of(places(1)), "flow 3": sigma_of(places(3))}.items():
        yield Peer("EulerDiscreteScheduler", means, "ve", SD, levels)
    for means, levels in {"flow": places(1), "flow 3": places(3), "AYS": ays_places}.items():
        yield Peer("FlowMatchEulerDiscreteScheduler", means, "flow", {}, levels)
        for curve, settings in CURVES.items():
            yield Peer("FlowMatchEulerDiscreteScheduler", f"{means} {curve}", "flow", settings, levels)
    for curve in ("karras", "exponential"):
        yield Peer("EDMEulerScheduler", curve, "ve", edm(curve))


def edm(curve: str, **more: Any) -> dict[str, Any]:
    return {"sigma_min": LOW, "sigma_max": HIGH, "sigma_schedule": curve, **more}


OPEN_END = {"final_sigmas_type": "sigma_min"}


def multistep() -> Iterator[Peer]:
    """List those that remember past predictions."""
    yield from solvers()
    yield from adams()
    for order in (2, 3):
        for curve in ("karras", "exponential"):
            for low in (LOW, 0.06, 0.12, 0.25):
                means = f"order {order} {curve} {low:.2g}"
                settings = edm(curve, solver_order=order) | {"sigma_min": low}
                yield Peer("EDMDPMSolverMultistepScheduler", means, "ve", settings)
                yield Peer("EDMDPMSolverMultistepScheduler", f"{means} sigma min", "ve", {**settings, **OPEN_END})


def solvers() -> Iterator[Peer]:
    """List DPM-Solver, DEIS and UniPC, each with its orders, forms and last steps."""
    lower = {"lower_order_final": False}
    methods: dict[str, Settings] = {
        "": {},
        "order 3": {"solver_order": 3},
        "order 3 to the end": {"solver_order": 3, **lower},
    }
    heun = {"heun": {"solver_type": "heun"}, "euler last": {"euler_at_final": True}}
    older: dict[str, Settings] = {
        f"dpmsolver {order}": {"algorithm_type": "dpmsolver", "solver_order": order, **OPEN_END} for order in (2, 3)
    }
    older["dpmsolver 3 to the end"] = {**older["dpmsolver 3"], **lower}
    opened: dict[str, Settings] = {
        "sigma min": OPEN_END,
        "order 3 sigma min": {"solver_order": 3, **OPEN_END},
        "order 3 to the end sigma min": {"solver_order": 3, **lower, **OPEN_END},
    }
    lu: dict[str, Settings] = {"lu": {"use_lu_lambdas": True}}
    yield from product("DPMSolverMultistepScheduler", grids() | lu, methods | heun | older | opened)
    yield from product("DPMSolverMultistepScheduler", {"AYS": {}}, methods | heun | older | opened, times=ays_times)
    yield from product("DEISMultistepScheduler", grids(), methods | {"to the end": lower})
    bh1 = {"bh1": {"solver_type": "bh1"}, "bh1 order 3": {"solver_type": "bh1", "solver_order": 3}}
    eps = {"eps": {"predict_x0": False}, "eps order 3": {"predict_x0": False, "solver_order": 3}}
    plain = {"no corrector": {"disable_corrector": list(range(1000))}}
    unipc = methods | bh1 | eps | plain | opened | {"to the end": lower}
    yield from product("UniPCMultistepScheduler", grids(), unipc)
    for low in (0.06, 0.12, 0.25):
        yield from product(
            "UniPCMultistepScheduler", {f"karras {low}": {**CURVES["karras"], "sigma_min": low}}, methods
        )
    for means, levels in {"flow": places(1), "flow 3": places(3), "AYS": ays_places}.items():
        yield from product(
            "UniPCMultistepScheduler", {means: {"use_flow_sigmas": True}}, unipc, frame="flow", levels=array(levels)
        )


def adams() -> Iterator[Peer]:
    """List SA-Solver without noise, LMS and PNDM."""
    lower = {"lower_order_final": False}
    sa = {f"{p}, {c}": {"predictor_order": p, "corrector_order": c} for p, c in ((2, 2), (3, 3), (3, 4))}
    still = {key: {**value, "tau_func": still_tau} for key, value in sa.items()}
    yield from product("SASolverScheduler", grids(), still)
    yield from product("SASolverScheduler", grids(), {"2, 2 to the end": {"tau_func": still_tau, **lower}})
    for order in (4, 3, 2):
        yield from product("LMSDiscreteScheduler", grids(), {f"order {order}": {}}, frame="ve", step={"order": order})
    skips = {
        "": {"skip_prk_steps": True},
        "to one": {"skip_prk_steps": True, "set_alpha_to_one": True},
        "with warm-up": {},
    }
    yield from product("PNDMScheduler", grids(curves=False), skips)


def array(levels: Levels) -> Callable[[int], np.ndarray]:
    """Return a grid as an array: UniPC takes no list."""
    return lambda steps: np.array(levels(steps))


def still_tau(time: Any) -> int:
    """Tell SA-Solver to draw no noise anywhere."""
    return 0


def two_calls() -> Iterator[Peer]:
    """List those that ask more than once a step."""
    single = {"": {}, "order 3": {"solver_order": 3}, "heun": {"solver_type": "heun"}}
    lowest = {
        "sigma min": OPEN_END,
        "order 3 sigma min": {"solver_order": 3, **OPEN_END},
        "dpmsolver 2": {"algorithm_type": "dpmsolver", **OPEN_END},
        "dpmsolver 3": {"algorithm_type": "dpmsolver", "solver_order": 3, **OPEN_END},
    }
    yield from product("DPMSolverSinglestepScheduler", grids(spacings=False), single | lowest)
    yield from product("DPMSolverSinglestepScheduler", {"AYS": {}}, single | lowest, times=ays_times)
    yield from product("HeunDiscreteScheduler", grids(), {"": {}}, frame="ve")
    yield Peer("HeunDiscreteScheduler", "AYS", "ve", SD, times=ays_times)
    yield from product("KDPM2DiscreteScheduler", grids(), {"": {}}, frame="ve")


def ipndm() -> Iterator[Peer]:
    """List IPNDM: `trained_betas` are the spreads of any grid."""

    def on(levels: Levels) -> Callable[[int], Settings]:
        return lambda steps: {"trained_betas": [spread(sigma) for sigma in levels(steps)]}

    named: dict[str, Levels] = {
        name: partial(grid, name, sigma_max=HIGH, sigma_min=LOW)
        for name in ("default", "angle", "karras", "exponential")
    }
    named |= {"flow": sigma_of(places(1)), "flow 3": sigma_of(places(3)), "AYS": ays}
    for means, levels in named.items():
        yield Peer("IPNDMScheduler", means.replace("default", "unnoise's default"), "angle", built=on(levels))


def elsewhere() -> Iterator[Peer]:
    """List those that cannot start at Stable Diffusion's highest level: they start at pure noise, or nearly."""
    yield Peer("IPNDMScheduler", "its own", "angle", {}, own_start=True)
    for shift in (1.0, 3.0):
        yield Peer("FlowMatchHeunDiscreteScheduler", f"shift {shift:g}", "flow", {"shift": shift}, own_start=True)


def stochastic() -> list[Peer]:
    """List those that draw noise, the first of each class its own default with Stable Diffusion's schedule."""
    plain = {"clip_sample": False}
    curved = {"default": {}, "trailing": SPACINGS["trailing"], "karras": CURVES["karras"]}
    spaced = {"default": {}, "trailing": SPACINGS["trailing"]}
    sde = {f"sde {a}": {"algorithm_type": f"sde-{a}"} for a in ("dpmsolver++", "dpmsolver")}
    sde["sde dpmsolver"] = {**sde["sde dpmsolver"], "final_sigmas_type": "sigma_min"}
    known = [
        *product("DDPMScheduler", spaced, {"": plain}),
        *product("DDPMParallelScheduler", {"default": {}}, {"": plain}),
        *product("DDIMScheduler", spaced, {"eta 1": plain}, step={"eta": 1.0}),
        *product("EulerAncestralDiscreteScheduler", spaced, {"": {}}, frame="ve"),
        *product("KDPM2AncestralDiscreteScheduler", curved, {"": {}}, frame="ve"),
        *product("DPMSolverMultistepScheduler", curved, sde),
        *product("DPMSolverSDEScheduler", {"default": {}, "karras": CURVES["karras"]}, {"": {}}, frame="ve"),
        *product("SASolverScheduler", curved, {"": {}, "tau 1": {"tau_func": full_tau}}),
        *product("EulerDiscreteScheduler", curved, {"churn": {}}, frame="ve", step={"s_churn": 5.0}),
        Peer("EDMEulerScheduler", "churn", "ve", edm("karras"), step={"s_churn": 5.0}),
        Peer("CosineDPMSolverMultistepScheduler", "exponential", "ve", edm("exponential")),
        *product("CogVideoXDPMScheduler", spaced, {"": {**plain, "snr_shift_scale": 1.0}}),
        *product("TCDScheduler", {"default": {}}, {"": plain}),
        *product("LCMScheduler", {"default": {}}, {"": plain}),
        Peer("FlowMatchLCMScheduler", "flow", "flow", {}, places(1)),
        Peer("FlowMatchEulerDiscreteScheduler", "stochastic flow", "flow", {"stochastic_sampling": True}, places(1)),
        Peer("LTXEulerAncestralRFScheduler", "flow", "flow", {}, lambda steps: [*places(1)(steps), 0.0]),
    ]
    return [replace(peer, stochastic=True) for peer in known]


def full_tau(time: Any) -> int:
    """Tell SA-Solver to draw as much noise as DDPM does everywhere."""
    return 1


LEFT_OUT = {
    "tokens, not numbers": "Amused BlockRefinement DiscreteDDIM EntropyBound VQDiffusion",
    "for networks that were distilled into jumps, as LCM and TCD, which stand here": "CMStochasticIterative "
    "ConsistencyDecoder FlowMapEulerDiscrete SCM Piflow HeliosDMD",
    "carry data to noise": "DDIMInverse DPMSolverMultistepInverse",
    "inpainting alone": "RePaint",
    "DDPM with a schedule of their own": "DDPMWuerstchen UnCLIP",
    "UniPC and Euler on a pyramid of sizes": "Helios",
    "Euler, as FlowMatchEulerDiscrete, with another clock": "MiniMaxH3",
    "proteins": "RFD4Proteina",
    "without a method `step`, deprecated": "KarrasVe ScoreSdeVe ScoreSdeVp",
}


def forgotten() -> list[str]:
    """Return the schedulers of the library that are neither listed nor left out."""
    named = {peer.name for peer in [*peers(), *stochastic()]}
    named |= {f"{name}Scheduler" for names in LEFT_OUT.values() for name in names.split()}
    return [n for n in dir(library) if n.endswith("Scheduler") and n not in named and hasattr(library, n)]
