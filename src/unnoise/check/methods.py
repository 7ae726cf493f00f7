"""What a sampler is, by the name that a tool gives it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Method:
    """Describe a sampler: its name here, its order, network calls a step, and whether it adds noise.

    few: made for 1 to 8 steps of a distilled model (LCM, TCD); flow: made for flow matching.
    """

    name: str
    order: int
    queries: int = 1
    stochastic: bool = False
    few: bool = False
    flow: bool = False


# name: (order, queries, stochastic, few)
_METHODS: Mapping[str, tuple[int, int, bool, bool]] = {
    "euler": (1, 1, False, False),
    "euler-ancestral": (1, 1, True, False),
    "ddim": (1, 1, False, False),
    "ddpm": (1, 1, True, False),
    "heun": (2, 2, False, False),
    "heunpp-2": (3, 3, False, False),
    "exp-heun": (2, 2, False, False),
    "exp-heun-sde": (2, 2, True, False),
    "dpm-2": (2, 2, False, False),
    "dpm-2-ancestral": (2, 2, True, False),
    "dpm-2m": (2, 1, False, False),
    "dpm-3m": (3, 1, False, False),
    "dpm-fast": (3, 1, False, False),
    "dpm-adaptive": (3, 3, False, False),
    "dpmpp-2s": (2, 2, False, False),
    "dpmpp-2s-ancestral": (2, 2, True, False),
    "dpmpp-sde": (2, 2, True, False),
    "dpmpp-1m": (1, 1, False, False),
    "dpmpp-2m": (2, 1, False, False),
    "dpmpp-3m": (3, 1, False, False),
    "dpmpp-1m-sde": (1, 1, True, False),
    "dpmpp-2m-sde": (2, 1, True, False),
    "dpmpp-3m-sde": (3, 1, True, False),
    "unipc": (2, 1, False, False),
    "unipc-1": (1, 1, False, False),
    "unipc-3": (3, 1, False, False),
    "deis": (3, 1, False, False),
    "deis-2": (2, 1, False, False),
    "deis-1": (1, 1, False, False),
    "lms": (4, 1, False, False),
    "pndm": (4, 1, False, False),
    "ipndm": (4, 1, False, False),
    "res-multistep": (2, 1, False, False),
    "res-multistep-ancestral": (2, 1, True, False),
    "res-2s": (2, 2, False, False),
    "gradient-estimation": (1, 1, False, False),
    "er-sde": (3, 1, True, False),
    "seeds-2": (2, 2, True, False),
    "seeds-3": (3, 3, True, False),
    "sa-solver": (3, 1, True, False),
    "sa-solver-pece": (3, 2, True, False),
    "restart": (2, 2, True, False),
    "edm": (2, 2, True, False),
    "ab": (2, 1, False, False),
    "consistency": (1, 1, True, True),
    "lcm": (1, 1, True, True),
    "tcd": (1, 1, True, True),
}
METHODS: Mapping[str, Method] = {name: Method(name, *what) for name, what in _METHODS.items()}

# Whole words as tools write them, without case, spaces, "_", "-", and "+" as "p".
_WORDS: Mapping[str, str] = {
    "euler": "euler", "keuler": "euler", "eulercfgpp": "euler", "eulersmeadyn": "euler", "eulersmea": "euler",
    "eulermax": "euler", "eulerdy": "euler", "eulerdysmea": "euler", "eulernegative": "euler",
    "eulerdynegative": "euler", "eulerge": "gradient-estimation",
    "eulera": "euler-ancestral", "eulerancestral": "euler-ancestral", "keulera": "euler-ancestral",
    "eulerancestralcfgpp": "euler-ancestral", "euleracfgpp": "euler-ancestral", "eulera2rf": "euler-ancestral",
    "keulerancestral": "euler-ancestral", "ancestral": "euler-ancestral",
    "ddim": "ddim", "ddimtrailing": "ddim", "ddimcfgpp": "ddim", "ddpm": "ddpm",
    "heun": "heun", "kheun": "heun", "heunpp2": "heunpp-2", "heunpp": "heunpp-2",
    "expheun2x0": "exp-heun", "expheun2x0sde": "exp-heun-sde",
    "dpm2": "dpm-2", "kdpm2": "dpm-2", "dpm2a": "dpm-2-ancestral", "dpm2ancestral": "dpm-2-ancestral",
    "kdpm2a": "dpm-2-ancestral", "kdpm2ancestral": "dpm-2-ancestral",
    "dpmfast": "dpm-fast", "dpmadaptive": "dpm-adaptive",
    "dpmpp2s": "dpmpp-2s", "dpmpp2sa": "dpmpp-2s-ancestral", "dpmpp2sancestral": "dpmpp-2s-ancestral",
    "dpmpp2sancestralcfgpp": "dpmpp-2s-ancestral", "dpmpp2sarf": "dpmpp-2s-ancestral",
    "dpmpp2ssde": "dpmpp-2s-ancestral", "kdpmpp2sa": "dpmpp-2s-ancestral",
    "dpmppsde": "dpmpp-sde", "dpmppsdegpu": "dpmpp-sde", "kdpmppsde": "dpmpp-sde",
    "dpmpp2m": "dpmpp-2m", "dpmpp2mv2": "dpmpp-2m", "dpmpp2mcfgpp": "dpmpp-2m", "kdpmpp2m": "dpmpp-2m",
    "dpmpp": "dpmpp-2m", "dpmpp2mturbo": "dpmpp-2m",
    "dpmpp2msde": "dpmpp-2m-sde", "dpmpp2msdegpu": "dpmpp-2m-sde", "dpmpp2msdeheun": "dpmpp-2m-sde",
    "dpmpp2msdeheungpu": "dpmpp-2m-sde", "dpmpp2msdebt": "dpmpp-2m-sde", "kdpmpp2msde": "dpmpp-2m-sde",
    "dpmpp3m": "dpmpp-3m", "dpmpp3msde": "dpmpp-3m-sde", "dpmpp3msdegpu": "dpmpp-3m-sde",
    "dpmpp3msdectrlz": "dpmpp-3m-sde", "kdpmpp3msde": "dpmpp-3m-sde",
    "unipc": "unipc", "unipcbh2": "unipc", "unipcbh1": "unipc", "unipc3": "unipc-3",
    "deis": "deis", "lms": "lms", "klms": "lms", "pndm": "pndm", "plms": "pndm",
    "ipndm": "ipndm", "ipndmv": "ipndm", "ipndm2": "ipndm", "ipndm3": "ipndm",
    "resmultistep": "res-multistep", "resmultistepcfgpp": "res-multistep", "res2m": "res-multistep",
    "resmultistepancestral": "res-multistep-ancestral", "resmultistepancestralcfgpp": "res-multistep-ancestral",
    "res2s": "res-2s", "gradientestimation": "gradient-estimation",
    "gradientestimationcfgpp": "gradient-estimation", "ersde": "er-sde", "seeds2": "seeds-2", "seeds3": "seeds-3",
    "sasolver": "sa-solver", "sasolverpece": "sa-solver-pece", "restart": "restart", "edm": "edm",
    "ab": "ab", "ab2": "ab", "ab4": "ab", "abeps": "ab", "consistency": "consistency", "lcm": "lcm", "tcd": "tcd",
}  # fmt: skip
# Spacings that follow a sampler's name: "DPM++ 2M Karras", "dpmpp_2m_k".
_SPACINGS = ("karras", "exponential", "polyexponential", "sgmuniform", "k", "simple", "normal", "beta", "automatic")
_DIFFUSERS: Mapping[str, str] = {
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
}  # fmt: skip
_FLOW = frozenset(
    {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler", "SCMScheduler",
     "FlowMapEulerDiscreteScheduler", "MiniMaxH3Scheduler", "LTXEulerAncestralRFScheduler", "HeliosScheduler"}
)  # fmt: skip
_SOLVERS = frozenset(
    {"DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler",
     "EDMDPMSolverMultistepScheduler"}
)  # fmt: skip

# Source: comfyanonymous/ComfyUI, comfy/samplers.py, KSAMPLER_NAMES, SAMPLER_NAMES and SCHEDULER_HANDLERS.
_COMFYUI = (
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2", "exp_heun_2_x0",
    "exp_heun_2_x0_sde", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm",
    "lcm", "ipndm", "ipndm_v", "deis", "res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "er_sde", "seeds_2",
    "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc", "uni_pc_bh2",
)  # fmt: skip
# Source: AUTOMATIC1111/stable-diffusion-webui, modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py,
# sd_samplers_lcm.py and sd_schedulers.py; those with "Karras" and "Exponential" are of versions before 1.9.
_A1111 = (
    "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a",
    "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM", "DDIM CFG++", "PLMS",
    "UniPC", "LCM",
)  # fmt: skip
_A1111_OLD = (
    "DPM++ 2M Karras", "DPM++ SDE Karras", "DPM++ 2M SDE Exponential", "DPM++ 2M SDE Karras",
    "DPM++ 2M SDE Heun Karras", "DPM++ 2M SDE Heun Exponential", "DPM++ 3M SDE Karras",
    "DPM++ 3M SDE Exponential", "DPM2 Karras", "DPM2 a Karras", "DPM++ 2S a Karras", "LMS Karras",
)  # fmt: skip
_A1111_GRIDS = (
    "Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal",
    "Align Your Steps", "Simple", "Normal", "DDIM", "Beta",
)  # fmt: skip
# Source: leejet/stable-diffusion.cpp, src/stable-diffusion.cpp, sample_method_to_str and scheduler_to_str.
_SDCPP = (
    "euler", "euler_a", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v", "lcm",
    "ddim_trailing", "tcd", "res_multistep", "res_2s", "er_sde", "euler_cfg_pp", "euler_a_cfg_pp", "euler_ge",
    "dpm++2m_sde", "dpm++2m_sde_bt", "lms",
)  # fmt: skip
# Source: invoke-ai/InvokeAI, invokeai/backend/stable_diffusion/schedulers/schedulers.py.
_INVOKEAI = (
    "ddim", "ddpm", "deis", "deis_k", "lms", "lms_k", "pndm", "heun", "heun_k", "euler", "euler_k", "euler_a",
    "kdpm_2", "kdpm_2_k", "kdpm_2_a", "kdpm_2_a_k", "dpmpp_2s", "dpmpp_2s_k", "dpmpp_2m", "dpmpp_2m_k",
    "dpmpp_2m_sde", "dpmpp_2m_sde_k", "dpmpp_3m", "dpmpp_3m_k", "dpmpp_sde", "dpmpp_sde_k", "unipc", "unipc_k",
    "lcm", "tcd", "er_sde", "uni_pc", "sa_solver",
)  # fmt: skip
_NAMES: Mapping[str, frozenset[str]] = {
    "comfyui": frozenset(_COMFYUI),
    "a1111": frozenset([*_A1111, *_A1111_OLD]),
    "forge": frozenset([*_A1111, *_A1111_OLD, "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM"]),
    "sdcpp": frozenset(_SDCPP),
    "invokeai": frozenset(_INVOKEAI),
}
_GRIDS: Mapping[str, frozenset[str]] = {
    "comfyui": frozenset(
        {"simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic",
         "kl_optimal"}
    ),
    "a1111": frozenset(_A1111_GRIDS),
    "forge": frozenset(
        [*_A1111_GRIDS, "Turbo", "Align Your Steps GITS", "Align Your Steps 11", "Align Your Steps 32"]
    ),
    "sdcpp": frozenset(
        {"discrete", "karras", "exponential", "ays", "gits", "sgm_uniform", "simple", "smoothstep", "kl_optimal",
        "lcm", "bong_tangent", "ltx2"}
    ),
}  # fmt: skip


def known_names(tool: str) -> frozenset[str]:
    """Give the names of all samplers of a tool as it writes them; empty where they are not listed here."""
    return _NAMES.get(tool, frozenset())


def known_grids(tool: str) -> frozenset[str]:
    """Give the names of all spacings of a tool as it writes them; empty where they are not listed here."""
    return _GRIDS.get(tool, frozenset())


def method(tool: str, name: str, settings: Mapping[str, Any] | None = None) -> Method | None:
    """Give what sampler `name` is to `tool`; settings: those of diffusers' class, which can change it."""
    if name.endswith("Scheduler"):
        return _of_class(name, settings or {})
    word = _word(name)
    for spacing in ("", *_SPACINGS):
        found = _WORDS.get(word.removesuffix(spacing)) if word.endswith(spacing) else None
        if found and tool == "invokeai" and word.startswith("dpmpp2s"):
            return replace(METHODS[found], queries=1)  # diffusers' single-step class: calls are counted as steps
        if found:
            return METHODS[found]
    return None


def _word(name: str) -> str:
    return "".join("p" if letter == "+" else letter for letter in name[:80].lower() if letter not in " _-")


def _of_class(name: str, settings: Mapping[str, Any]) -> Method | None:
    """Give what a class of diffusers is with these settings; those that are not said are the class's defaults."""
    flow = name in _FLOW or settings.get("use_flow_sigmas") is True
    order = settings.get("solver_order")
    order = order if type(order) is int and 1 <= order <= 3 else 2
    if name in _SOLVERS:
        found = _solver(name, settings.get("algorithm_type", "dpmsolver++"), order)
    elif name == "UniPCMultistepScheduler":
        found = METHODS[{1: "unipc-1", 2: "unipc", 3: "unipc-3"}[order]]
    elif name == "DEISMultistepScheduler":
        found = METHODS[{1: "deis-1", 2: "deis-2", 3: "deis"}[order]]
    else:
        found = METHODS.get(_DIFFUSERS.get(name, ""))
    if found is None:
        return None
    return replace(found, flow=flow, stochastic=found.stochastic or settings.get("stochastic_sampling") is True)


def _solver(name: str, kind: object, order: int) -> Method | None:
    """Give what DPM-Solver is of this kind and order; the single-step class counts its calls as steps."""
    if not isinstance(kind, str) or kind not in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"):
        return None
    noisy = kind.startswith("sde")
    if "Singlestep" in name:
        return Method(f"dpmpp-{order}s{'-sde' if noisy else ''}", order, stochastic=noisy)
    stem = "dpm" if kind == "dpmsolver" else "dpmpp"
    return Method(f"{stem}-{order}m{'-sde' if noisy else ''}", order, stochastic=noisy)
