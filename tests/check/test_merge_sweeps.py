"""A script that draws with every value of a list: one finding for the values that are wrong."""

import json

import pytest

from check.test_comfyui import api
from unnoise.check.apply_fixes import apply_fixes
from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.merge_sweeps import MOST
from unnoise.check.read.comfyui import read_workflow
from unnoise.check.rule import Finding
from unnoise.check.subject import Subject

START = """
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
"""


def found(text: str, rule: str) -> list[Finding]:
    return [one for one in judge(script(START + text)) if one.rule.id == rule]


SWEEPS = {
    "a list": ("for g in [7, 30, 3, 40]:\n    pipe('a crab', guidance_scale=g)", "UN401", "guidance_scale 30, 40"),
    "two": ("for g in (40, 30):\n    pipe('a crab', guidance_scale=g)", "UN401", "guidance_scale 40, 30"),
    "an expression": ("a = [pipe('a', guidance_scale=g) for g in (40, 7, 35)]", "UN401", "guidance_scale 40, 35"),
    "tables": (
        "rows = [{'guidance_scale': 50.0}, {'guidance_scale': 6.0}, {'guidance_scale': 45.0}]\n"
        "for row in rows:\n    pipe('a crab', **row)",
        "UN401",
        "guidance_scale 50, 45",
    ),
    "of two lists": (
        "for g in [7, 30]:\n    for n in [1000, 20, 900]:\n        pipe('a', guidance_scale=g, num_inference_steps=n)",
        "UN401",
        "guidance_scale 30",
    ),
    "words at both ends": (
        "for side in [256, 1024, 320]:\n    pipe('a', width=side, height=side)",
        "UN306",
        "256x256, 0.062; 320x320, 0.098 times the area of 1024x1024",
    ),
    "pairs": (
        "for size in [(256, 256), (1024, 1024), (320, 320)]:\n    pipe('a', width=size[0], height=size[1])",
        "UN306",
        "256x256, 0.062; 320x320, 0.098 times the area of 1024x1024",
    ),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_one_finding_with_the_wrong_values(name: str) -> None:
    text, rule, measured = SWEEPS[name]
    assert [one.measured for one in found(text, rule)] == [measured]


@pytest.mark.parametrize(
    "text",
    [
        "pipe('a crab', guidance_scale=30)\npipe('a crab', guidance_scale=40)",
        "images = [pipe('a crab', guidance_scale=30), pipe('a crab', guidance_scale=40)]",
        "def draw(g):\n    return pipe('a crab', guidance_scale=g)\ndraw(30)\ndraw(40)",
    ],
)
def test_calls_of_their_own_have_findings_of_their_own(text: str) -> None:
    assert [one.measured for one in found(text, "UN401")] == ["guidance_scale 30", "guidance_scale 40"]


def test_long_prompts_of_a_list_have_findings_of_their_own() -> None:
    prompts = ["a very long prompt " * 40, "another very long prompt " * 40]
    assert len(found(f"for prompt in {prompts}:\n    pipe(prompt)", "UN801")) == 2


def test_a_long_sweep_lists_its_first_values() -> None:
    numbers = [30 + (7 * one) % 12 for one in range(12)]
    [finding] = found(f"for g in {numbers}:\n    pipe('a crab', guidance_scale=g)", "UN401")
    assert finding.measured == f"guidance_scale {', '.join(map(str, numbers[:MOST]))}, and {12 - MOST} more"


def test_the_fix_writes_every_value() -> None:
    text = "for g in [7, 30, 3, 40]:\n    pipe('a crab', guidance_scale=g)\n"
    subject = script(START + text)
    [fix] = [one.fix for one in judge(subject) if one.fix]
    [after] = apply_fixes(subject, [fix]).values()
    assert "[7, 13, 3, 13]" in after


def stages(*scales: float) -> Subject:
    """Return a workflow of ComfyUI with a sampler for each guidance scale."""
    nodes = api()
    for number, scale in enumerate(scales, start=20):
        sampler = {**nodes["3"]["inputs"], "cfg": scale}
        nodes[str(number)] = {"class_type": "KSampler", "inputs": sampler}
        nodes[str(number + 50)] = {"class_type": "VAEDecode", "inputs": {"samples": [str(number), 0], "vae": ["12", 0]}}
        nodes[str(number + 90)] = {"class_type": "SaveImage", "inputs": {"images": [str(number + 50), 0]}}
    return read_workflow(nodes, "a.json", json.dumps(nodes))


def test_equal_findings_of_nodes_are_one() -> None:
    (one,) = (one for one in judge(stages(7.0, 30.0, 30.0, 30.0)) if one.rule.id == "UN401")
    assert one.measured == "cfg 30, 3 times"
    assert one.fix is not None
    assert len(one.fix.changes) == 3


def test_values_of_nodes_are_listed() -> None:
    (one,) = (one for one in judge(stages(30.0, 40.0)) if one.rule.id == "UN401")
    assert one.measured == "cfg 30, 40"
