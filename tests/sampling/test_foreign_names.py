"""Names of samplers and schedules in other programs: each leads to a sampler here, or to a refusal with the nearest."""

import re
import subprocess
import sys

import pytest

import unnoise.sampling
from unnoise.check.sampler_names import known_grids, known_names
from unnoise.errors import InputError
from unnoise.sampling.foreign import CLASSES, FACTS, foreign, foreign_schedule
from unnoise.sampling.registry import GRIDS, SAMPLERS, resolve_name, sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_facts_are_those_of_the_sampler(name: str) -> None:
    built, facts = sampler(name), FACTS[name]
    assert (facts.order, facts.queries, facts.stochastic) == (built.order, built.queries, built.stochastic)
    assert facts.near == ""


def test_samplers_of_others_have_a_near_one_here() -> None:
    assert {facts.near for name, facts in FACTS.items() if name not in SAMPLERS} <= SAMPLERS.keys()
    assert all(facts.name == name for name, facts in FACTS.items())


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("DPM++ 2M Karras", ("dpmpp-2m", "karras")),
        ("DPM++ 2M", ("dpmpp-2m", None)),
        ("DPM++ 3M SDE Exponential", ("dpmpp-3m-sde", "exponential")),
        ("DPM++ 2M SGM Uniform", ("dpmpp-2m", "trailing")),
        ("DPM++ 2S a Karras", ("dpmpp-2s-sde", "karras")),
        ("Euler a", ("euler-a", None)),
        ("UniPC", ("unipc", None)),
        ("dpmpp_2m", ("dpmpp-2m", None)),
        ("dpmpp_2m_sde_gpu", ("dpmpp-2m-sde", None)),
        ("uni_pc_bh2", ("unipc", None)),
        ("euler_ancestral", ("euler-ancestral", None)),
        ("dpmpp_2m_k", ("dpmpp-2m", "karras")),
        ("k_euler_a", ("euler-ancestral", None)),
        ("dpmsolver++", ("dpmpp-2m", None)),
        ("DPMSolverMultistepScheduler", ("dpmpp-2m", None)),
        ("DPMSolverSinglestepScheduler", ("dpmpp-2s", None)),
        ("UniPCMultistepScheduler", ("unipc", None)),
        ("EulerAncestralDiscreteScheduler", ("euler-ancestral", None)),
        ("HeunDiscreteScheduler", ("heun", None)),
        (" ab-4 ", ("ab-4", None)),
    ],
)
def test_names_of_other_programs_are_resolved(text: str, means: tuple[str, str | None]) -> None:
    assert resolve_name(text) == means


@pytest.mark.parametrize("tool", ["a1111", "comfyui", "forge", "invokeai", "diffusers"])
def test_every_name_of_other_programs_is_found(tool: str) -> None:
    """Every name leads to a sampler here, or to a refusal that names the nearest; most lead to a sampler."""
    names = set(CLASSES) if tool == "diffusers" else known_names(tool)
    found = 0
    for name in names:
        try:
            key, schedule = resolve_name(name)
        except InputError as error:
            near = re.fullmatch(r"sampler '.*' is of another program .*: the nearest is '(.*)'", str(error))
            assert near is not None, name
            assert near[1] in SAMPLERS
            continue
        assert key in SAMPLERS
        assert schedule is None or schedule in GRIDS
        found += 1
    assert found >= 0.45 * len(names)


@pytest.mark.parametrize("name", SAMPLERS)
def test_own_names_resolve_to_themselves(name: str) -> None:
    assert resolve_name(name) == (name, None)
    assert foreign(name) is not None


@pytest.mark.parametrize("text", ["", "karras", "k", "my sampler", "x" * 10_000, "dpmp-2m", "DPM++ 2M Karas"])
def test_unknown_names_are_not_resolved(text: str) -> None:
    assert foreign(text) is None
    with pytest.raises(InputError, match=r"is unknown: .*known: ab, "):
        resolve_name(text)


@pytest.mark.parametrize("tool", ["a1111", "comfyui", "forge", "sdcpp"])
def test_spacings_of_other_programs_are_schedules(tool: str) -> None:
    here = {name: foreign_schedule(name) for name in known_grids(tool)}
    assert {name for name in here.values() if name} <= GRIDS.keys()
    assert here.get("karras", here.get("Karras")) == "karras"
    assert here.get("simple", here.get("Simple")) == "trailing"


def test_names_of_samplers_load_no_sampler() -> None:
    code = "import sys, unnoise.sampling.foreign; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not any(name.startswith("unnoise.sampling.samplers") for name in done.stdout.split())
    assert dir(unnoise.sampling) == sorted(unnoise.sampling.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        unnoise.sampling.nothing  # noqa: B018
