"""Names and facts of samplers and schedules in diffusers, AUTOMATIC1111, ComfyUI, InvokeAI, sd-scripts and Forge.

The module is data and imports no sampler, so that a program that only reads names stays fast. `SAMPLERS` of
`sampling/registry.py` builds the samplers; a test compares the facts here with those of the samplers it builds.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplerFacts:
    """Describe a sampler.

    Args:
        name: its key in `FACTS`
        order: of convergence as measured, weak order for a stochastic one; 0 where more steps do not converge
        queries: network calls a step, at least 1
        stochastic: it adds noise
        distilled: made for 1 to 8 steps of a consistency or TCD model
        flow: made for flow matching
        near: "" for a sampler of this program; else its nearest sampler here, which is another method
    """

    name: str
    order: int
    queries: int = 1
    stochastic: bool = False
    distilled: bool = False
    flow: bool = False
    near: str = ""


# name: (order, queries, stochastic). Measured by tests/sampling/test_samplers.py.
_OWN: Mapping[str, tuple[int, int, bool]] = {
    "ab": (2, 1, False), "ab-2": (2, 1, False), "ab-4": (4, 1, False), "ab-eps": (3, 1, False), "abm": (3, 1, False),
    "abm-2": (3, 1, False), "abm-2-damped": (3, 1, False), "abm-4": (3, 1, False), "ddim": (1, 1, False),
    "euler": (1, 1, False), "ancestral": (1, 1, True), "euler-ancestral": (1, 1, True), "euler-a": (1, 1, True),
    "ddpm": (1, 1, True), "heun": (2, 2, False), "edm": (2, 2, True), "dpm-2": (2, 2, False),
    "dpmpp-2s": (2, 2, False), "dpmpp-2s-sde": (2, 2, True), "dpmpp-2m": (2, 1, False), "dpmpp-3m": (3, 1, False),
    "dpmpp-2m-sde": (2, 1, True), "dpmpp-3m-sde": (2, 1, True), "unipc": (3, 1, False), "unipc-3": (4, 1, False),
    "deis": (3, 1, False), "lms": (4, 1, False), "sa-solver": (2, 1, True), "gradient-estimation": (1, 1, False),
    "ipndm": (4, 1, False), "ipndm-3": (3, 1, False), "ipndm-2": (2, 1, False), "consistency": (0, 1, True),
    "lcm": (0, 1, True),
}  # fmt: skip
# Samplers that only other programs have: (order, queries, stochastic, nearest sampler here). Orders are as published;
# those of solvers that exist here with other settings are as measured here, such as UniPC with a predictor of order 1.
_OTHERS: Mapping[str, tuple[int, int, bool, str]] = {
    "heunpp-2": (3, 3, False, "heun"), "exp-heun": (2, 2, False, "dpmpp-2s"),
    "exp-heun-sde": (2, 2, True, "dpmpp-2s-sde"), "dpm-2-ancestral": (2, 2, True, "dpmpp-2s-sde"),
    "dpm-2m": (2, 1, False, "dpmpp-2m"), "dpm-3m": (3, 1, False, "dpmpp-3m"), "dpm-fast": (3, 1, False, "dpmpp-3m"),
    "dpm-adaptive": (3, 3, False, "dpmpp-3m"), "dpmpp-sde": (2, 2, True, "dpmpp-2s-sde"),
    "dpmpp-1m": (1, 1, False, "ddim"), "dpmpp-1m-sde": (1, 1, True, "ancestral"), "unipc-1": (2, 1, False, "unipc"),
    "deis-2": (2, 1, False, "deis"), "deis-1": (1, 1, False, "ddim"), "pndm": (4, 1, False, "ipndm"),
    "res-multistep": (2, 1, False, "dpmpp-2m"), "res-multistep-ancestral": (2, 1, True, "dpmpp-2m-sde"),
    "res-2s": (2, 2, False, "dpmpp-2s"), "er-sde": (3, 1, True, "dpmpp-3m-sde"),
    "seeds-2": (2, 2, True, "dpmpp-2s-sde"), "seeds-3": (3, 3, True, "dpmpp-2s-sde"),
    "sa-solver-pece": (2, 2, True, "sa-solver"), "restart": (2, 2, True, "edm"), "tcd": (1, 1, True, "lcm"),
}  # fmt: skip
_DISTILLED = ("consistency", "lcm", "tcd")
FACTS: Mapping[str, SamplerFacts] = {
    **{name: SamplerFacts(name, *facts, name in _DISTILLED) for name, facts in _OWN.items()},
    **{
        name: SamplerFacts(name, order, queries, stochastic, name in _DISTILLED, near=near)
        for name, (order, queries, stochastic, near) in _OTHERS.items()
    },
}

# Names as other programs write them, without case, spaces, "_" and "-", and "+" as "p".
_WORDS: Mapping[str, str] = {
    "euler": "euler", "keuler": "euler", "eulera": "euler-ancestral", "eulerancestral": "euler-ancestral",
    "keulera": "euler-ancestral", "keulerancestral": "euler-ancestral", "eulerge": "gradient-estimation",
    "ddim": "ddim", "ddimtrailing": "ddim", "ddpm": "ddpm", "heun": "heun", "kheun": "heun", "heunpp2": "heunpp-2",
    "heunpp": "heunpp-2", "expheun2x0": "exp-heun", "expheun2x0sde": "exp-heun-sde", "dpm2": "dpm-2", "kdpm2": "dpm-2",
    "dpm2a": "dpm-2-ancestral", "dpm2ancestral": "dpm-2-ancestral", "kdpm2a": "dpm-2-ancestral",
    "kdpm2ancestral": "dpm-2-ancestral", "dpmfast": "dpm-fast", "dpmadaptive": "dpm-adaptive", "dpmpp2s": "dpmpp-2s",
    "dpmpp2sa": "dpmpp-2s-sde", "dpmpp2sancestral": "dpmpp-2s-sde", "dpmpp2ssde": "dpmpp-2s-sde",
    "kdpmpp2sa": "dpmpp-2s-sde", "kdpmpp2a": "dpmpp-2s-sde", "dpmppsde": "dpmpp-sde", "dpmppsdegpu": "dpmpp-sde",
    "kdpmppsde": "dpmpp-sde", "dpmpp2m": "dpmpp-2m", "kdpmpp2m": "dpmpp-2m", "kdpmpp2": "dpmpp-2m",
    "dpmpp": "dpmpp-2m", "dpmsolverpp": "dpmpp-2m",
    "dpmsolver": "dpm-2m", "dpmsingle": "dpmpp-2s", "dpmpp2msde": "dpmpp-2m-sde", "dpmpp2msdegpu": "dpmpp-2m-sde",
    "kdpmpp2msde": "dpmpp-2m-sde", "dpmpp3m": "dpmpp-3m", "dpmpp3msde": "dpmpp-3m-sde",
    "dpmpp3msdegpu": "dpmpp-3m-sde", "kdpmpp3msde": "dpmpp-3m-sde", "unipc": "unipc", "unipcbh2": "unipc",
    "unipcbh1": "unipc", "unipc3": "unipc-3", "deis": "deis", "lms": "lms", "klms": "lms", "pndm": "pndm",
    "plms": "pndm", "ipndm": "ipndm", "ipndmv": "ipndm", "resmultistep": "res-multistep", "res2m": "res-multistep",
    "resmultistepancestral": "res-multistep-ancestral", "res2s": "res-2s", "gradientestimation": "gradient-estimation",
    "ersde": "er-sde", "seeds2": "seeds-2", "seeds3": "seeds-3", "sasolver": "sa-solver",
    "sasolverpece": "sa-solver-pece", "restart": "restart", "edm": "edm", "consistency": "consistency", "lcm": "lcm",
    "tcd": "tcd",
}  # fmt: skip
# Variants of a sampler that give other results: only the facts are those of the sampler.
_VARIANTS: Mapping[str, str] = {
    "eulercfgpp": "euler", "eulersmeadyn": "euler", "eulersmea": "euler", "eulermax": "euler", "eulerdy": "euler",
    "eulerdysmea": "euler", "eulernegative": "euler", "eulerdynegative": "euler", "ddimcfgpp": "ddim",
    "eulerancestralcfgpp": "euler-ancestral", "euleracfgpp": "euler-ancestral", "eulera2rf": "euler-ancestral",
    "dpmpp2sancestralcfgpp": "dpmpp-2s-sde", "dpmpp2sarf": "dpmpp-2s-sde", "dpmpp2mcfgpp": "dpmpp-2m",
    "dpmpp2mv2": "dpmpp-2m", "dpmpp2mturbo": "dpmpp-2m", "dpmpp2msdeheun": "dpmpp-2m-sde",
    "dpmpp2msdeheungpu": "dpmpp-2m-sde", "dpmpp2msdebt": "dpmpp-2m-sde", "dpmpp3msdectrlz": "dpmpp-3m-sde",
    "resmultistepcfgpp": "res-multistep", "resmultistepancestralcfgpp": "res-multistep-ancestral",
    "gradientestimationcfgpp": "gradient-estimation",
}  # fmt: skip
# Classes of diffusers with their default settings.
CLASSES: Mapping[str, str] = {
    "EulerDiscreteScheduler": "euler", "EDMEulerScheduler": "euler", "FlowMatchEulerDiscreteScheduler": "euler",
    "FlowMapEulerDiscreteScheduler": "euler", "MiniMaxH3Scheduler": "euler", "CogVideoXDDIMScheduler": "ddim",
    "EulerAncestralDiscreteScheduler": "euler-ancestral", "LTXEulerAncestralRFScheduler": "euler-ancestral",
    "DDIMScheduler": "ddim", "DDIMParallelScheduler": "ddim", "DDIMInverseScheduler": "ddim",
    "DDPMScheduler": "ddpm", "DDPMParallelScheduler": "ddpm", "DDPMWuerstchenScheduler": "ddpm",
    "UnCLIPScheduler": "ddpm", "HeunDiscreteScheduler": "heun", "FlowMatchHeunDiscreteScheduler": "heun",
    "KDPM2DiscreteScheduler": "dpm-2", "KDPM2AncestralDiscreteScheduler": "dpm-2-ancestral",
    "DPMSolverSDEScheduler": "dpmpp-sde", "CosineDPMSolverMultistepScheduler": "dpmpp-2m-sde",
    "CogVideoXDPMScheduler": "dpmpp-2m-sde", "LMSDiscreteScheduler": "lms", "PNDMScheduler": "pndm",
    "IPNDMScheduler": "ipndm", "SASolverScheduler": "sa-solver", "LCMScheduler": "lcm",
    "FlowMatchLCMScheduler": "lcm", "TCDScheduler": "tcd", "SCMScheduler": "consistency",
    "CMStochasticIterativeScheduler": "consistency", "KarrasVeScheduler": "edm", "HeliosScheduler": "unipc",
    "DPMSolverMultistepScheduler": "dpmpp-2m", "DPMSolverMultistepInverseScheduler": "dpmpp-2m",
    "EDMDPMSolverMultistepScheduler": "dpmpp-2m", "DPMSolverSinglestepScheduler": "dpmpp-2s",
    "UniPCMultistepScheduler": "unipc", "DEISMultistepScheduler": "deis",
}  # fmt: skip
# Spacings as other programs write them, and the schedule here; "" where it is the default of the sampler or the model.
# "simple" and "sgm_uniform" are even strides from the last time of a discrete model ("trailing"); "normal", "uniform"
# and "discrete" go from its last time to the first ("linspace"); "ddim_uniform" takes whole strides ("leading");
# "kl_optimal" is even in atan(sigma).
# Source: ComfyUI, comfy/samplers.py, SCHEDULER_HANDLERS; AUTOMATIC1111, modules/sd_schedulers.py.
_SCHEDULES: Mapping[str, str] = {
    "karras": "karras", "exponential": "exponential", "polyexponential": "polyexponential", "k": "karras",
    "sgmuniform": "trailing", "simple": "trailing", "normal": "linspace", "uniform": "linspace",
    "discrete": "linspace", "ddimuniform": "leading", "beta": "beta", "linearquadratic": "linear-quadratic",
    "kloptimal": "angle", "ddim": "leading", "automatic": "",
}  # fmt: skip


def word(name: str) -> str:
    """Reduce a name to what all spellings share.

    Args:
        name: of any length; 80 letters of it count

    Returns:
        the name without case, spaces, "_" and "-", and with "p" for "+"
    """
    return "".join("p" if letter == "+" else letter for letter in name[:80].lower() if letter not in " _-")


def foreign(name: str) -> tuple[str, str | None] | None:
    """Translate the name of a sampler, which may end in that of a schedule: "DPM++ 2M Karras", "dpmpp_2m_k".

    Args:
        name: as any of the programs writes it, or a class of diffusers

    Returns:
        the key in `FACTS` and the key of the schedule here, which is None where none is named; None for an unknown name
    """
    return _found(name, {**_WORDS, **_VARIANTS})


def equivalent(name: str) -> tuple[str, str | None] | None:
    """Translate as `foreign` does, but only names of the same method: "euler_cfg_pp" is not "euler"."""
    return _found(name, _WORDS)


def _found(name: str, words: Mapping[str, str]) -> tuple[str, str | None] | None:
    if name in CLASSES:
        return CLASSES[name], None
    whole = word(name)
    for spacing, schedule in (("", ""), *_SCHEDULES.items()):
        stem = whole.removesuffix(spacing)
        key = words.get(stem) or _KEYS.get(stem)
        if key and whole.endswith(spacing):
            return key, schedule or None
    return None


def foreign_schedule(name: str) -> str | None:
    """Translate the name of a spacing of noise levels.

    Args:
        name: as any of the programs writes it, such as "sgm_uniform" or "SGM Uniform"

    Returns:
        the key of the schedule here; None for an unknown name, and where the program takes the default of the sampler
    """
    return _SCHEDULES.get(word(name)) or None


_KEYS: Mapping[str, str] = {word(name): name for name in FACTS}
