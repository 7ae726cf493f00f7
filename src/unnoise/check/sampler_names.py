"""Names of samplers and spacings in other programs, and the samplers that settings of diffusers' classes select.

`sampling/foreign.py` has the meaning of each name.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.sampling.foreign import CLASSES, FACTS, SamplerFacts, foreign

_FLOW = frozenset(
    {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler", "SCMScheduler",
     "FlowMapEulerDiscreteScheduler", "MiniMaxH3Scheduler", "LTXEulerAncestralRFScheduler", "HeliosScheduler"}
)  # fmt: skip
_BY_ORDER: Mapping[str, tuple[str, str, str]] = {  # of solver_order 1, 2 and 3
    "UniPCMultistepScheduler": ("unipc-1", "unipc", "unipc-3"),
    "DEISMultistepScheduler": ("deis-1", "deis-2", "deis"),
}
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
# sd_samplers_lcm.py and sd_schedulers.py; those with "Karras" and "Exponential" belong to versions before 1.9.
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
    "lcm", "tcd", "er_sde", "uni_pc", "sa_solver", "euler_cfg_pp_beta",
)  # fmt: skip
# Of versions before 3.   Source: invoke-ai/InvokeAI, ldm/invoke/args.py, SAMPLER_CHOICES
_INVOKEAI_OLD = (
    "k_dpm_2_a", "k_dpm_2", "k_dpmpp_2_a", "k_dpmpp_2", "k_euler_a", "k_euler", "k_heun", "k_lms", "plms",
)  # fmt: skip
_NAMES: Mapping[str, frozenset[str]] = {
    "comfyui": frozenset(_COMFYUI),
    "a1111": frozenset([*_A1111, *_A1111_OLD]),
    "forge": frozenset([*_A1111, *_A1111_OLD, "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM"]),
    "sdcpp": frozenset(_SDCPP),
    "invokeai": frozenset([*_INVOKEAI, *_INVOKEAI_OLD]),
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
    """Return the names of all samplers of a tool as it writes them; empty for an unlisted tool."""
    return _NAMES.get(tool, frozenset())


def known_grids(tool: str) -> frozenset[str]:
    """Return the names of all spacings of a tool as it writes them; empty for an unlisted tool."""
    return _GRIDS.get(tool, frozenset())


def sampler_facts(tool: str, name: str, settings: Mapping[str, Any] | None = None) -> SamplerFacts | None:
    """Describe the sampler that a tool calls by a name.

    Args:
        tool: the program whose name it is
        name: of a sampler, optionally with that of a spacing at its end, or a class of diffusers
        settings: of the class, which can select another sampler; missing ones have their default

    Returns:
        None for an unknown name
    """
    if name.endswith("Scheduler"):
        return _of_class(name, settings or {})
    found = foreign(name)
    if found is None:
        return None
    facts = FACTS[found[0]]
    single = tool == "invokeai" and facts.name in ("dpmpp-2s", "dpmpp-2s-sde")
    return replace(facts, queries=1) if single else facts  # diffusers' single-step class counts calls as steps


def _of_class(name: str, settings: Mapping[str, Any]) -> SamplerFacts | None:
    order = settings.get("solver_order")
    order = order if type(order) is int and 1 <= order <= 3 else 2
    if name in _SOLVERS:
        found = _solver(name, settings.get("algorithm_type", "dpmsolver++"), order)
    elif name in _BY_ORDER:
        found = FACTS[_BY_ORDER[name][order - 1]]
    else:
        found = FACTS.get(CLASSES.get(name, ""))
    if found is None:
        return None
    stochastic = found.stochastic or settings.get("stochastic_sampling") is True
    return replace(found, flow=name in _FLOW or settings.get("use_flow_sigmas") is True, stochastic=stochastic)


def _solver(name: str, kind: object, order: int) -> SamplerFacts | None:
    """Describe DPM-Solver of a kind and an order."""
    if not isinstance(kind, str) or kind not in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"):
        return None
    noisy = kind.startswith("sde")
    if "Singlestep" in name:
        return SamplerFacts(f"dpmpp-{order}s{'-sde' if noisy else ''}", order, stochastic=noisy)
    stem = "dpm" if kind == "dpmsolver" else "dpmpp"
    sampler = f"{stem}-{order}m{'-sde' if noisy else ''}"
    return FACTS.get(sampler) or SamplerFacts(sampler, order, stochastic=noisy)
