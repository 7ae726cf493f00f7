import diffusers
import pytest

from unnoise.check.sampler_names import known_grids, known_names, sampler_facts
from unnoise.check.tables.classes import CLASSES
from unnoise.sampling.registry import SAMPLERS

# Of tokens and of classes: no levels of noise, so no method of this kind; and those whose rule is their own.
OTHER = {
    "AmusedScheduler",
    "BlockRefinementScheduler",
    "DiscreteDDIMScheduler",
    "EntropyBoundScheduler",
    "VQDiffusionScheduler",
    "RePaintScheduler",
    "ScoreSdeVeScheduler",
    "HeliosDMDScheduler",
    "PiflowScheduler",
    "RFD4ProteinaScheduler",
}


@pytest.mark.parametrize(
    ("tool", "name", "means"),
    [
        ("a1111", "DPM++ 2M Karras", "dpmpp-2m"),
        ("a1111", "Euler a", "euler-ancestral"),
        ("a1111", "DPM++ 2M SDE", "dpmpp-2m-sde"),
        ("a1111", "DPM2 a Karras", "dpm-2-ancestral"),
        ("invokeai", "dpmpp_2m_k", "dpmpp-2m"),
        ("invokeai", "kdpm_2_a_k", "dpm-2-ancestral"),
        ("comfyui", "uni_pc_bh2", "unipc"),
        ("comfyui", "dpmpp_3m_sde_gpu", "dpmpp-3m-sde"),
        ("sdcpp", "dpm++2s_a", "dpmpp-2s-sde"),
        ("unnoise", "DPM++ 2M", "dpmpp-2m"),
    ],
)
def test_names_of_tools_are_known(tool: str, name: str, means: str) -> None:
    found = sampler_facts(tool, name)
    assert found is not None
    assert found.name == means


@pytest.mark.parametrize("tool", ["comfyui", "a1111", "forge", "sdcpp", "invokeai"])
def test_every_name_of_a_tool_has_a_meaning(tool: str) -> None:
    assert known_names(tool)
    assert {name for name in known_names(tool) if sampler_facts(tool, name) is None} == set()
    assert known_grids(tool) or tool == "invokeai"


def test_every_name_here_has_a_meaning() -> None:
    assert {name for name in SAMPLERS if sampler_facts("unnoise", name) is None} == set()


def test_every_scheduler_of_diffusers_has_a_meaning() -> None:
    assert {name for name in CLASSES if sampler_facts("diffusers", name) is None} == OTHER & set(CLASSES)
    assert hasattr(diffusers, "DDIMScheduler")


def test_settings_change_what_a_class_is() -> None:
    solver = "DPMSolverMultistepScheduler"
    noisy = sampler_facts("diffusers", solver, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3})
    assert noisy is not None
    assert (noisy.name, noisy.order, noisy.stochastic) == ("dpmpp-3m-sde", 2, True)  # weak order, measured
    flow = sampler_facts("diffusers", solver, {"use_flow_sigmas": True})
    assert flow is not None
    assert flow.flow
    single = sampler_facts("diffusers", "DPMSolverSinglestepScheduler")
    assert single is not None
    assert single.queries == 1
    renewed = sampler_facts("diffusers", "FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True})
    assert renewed is not None
    assert renewed.stochastic
    assert sampler_facts("diffusers", solver, {"algorithm_type": 7, "solver_order": "x"}) is None


def test_unknown_samplers() -> None:
    for name in ("", "karras", "k", "exponential", "my sampler", "x" * 10_000):
        assert sampler_facts("comfyui", name) is None
