"""A fix never changes a value that something else reads too: it is written at the argument, or only shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from unnoise.check.apply_fixes import apply_fixes
from unnoise.check.catalogue import entry
from unnoise.check.engine import judge
from unnoise.check.examples import comfyui, command, script
from unnoise.check.rule import Fix
from unnoise.check.subject import Subject

START = """
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
"""


def fixes(subject: Subject, rule: str) -> list[Fix]:
    return [finding.fix for finding in judge(subject, [entry(rule)]) if finding.fix is not None]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pipe('x', num_inference_steps=1000)", "unsafe"),
        ("STEPS = 1000\npipe('x', num_inference_steps=STEPS)", "unsafe"),
        ("STEPS = 1000\npipe('x', num_inference_steps=STEPS)\nprint(STEPS)", "unsafe"),
        ("STEPS = 1000\nscheduler.set_timesteps(STEPS)\npipe('x', num_inference_steps=STEPS)", "unsafe"),
        ("STEPS = 1000\nn = STEPS\npipe('x', num_inference_steps=n)", "unsafe"),
        ("STEPS = 1000\nn = STEPS\npipe('x', num_inference_steps=n)\nlog(n)", "show"),
        ("k = dict(num_inference_steps=1000)\npipe('x', **k)", "unsafe"),
        ("k = dict(num_inference_steps=1000)\npipe('x', **k)\nother(**k)", "show"),
        ("k = {'num_inference_steps': 1000}\npipe('x', **k)\nprint(k)", "show"),
        ("k = {}\nk['num_inference_steps'] = 1000\npipe('x', **k)", "unsafe"),
        ("k = {}\nk['num_inference_steps'] = 1000\npipe('x', **k)\nprint(k)", "show"),
        ("def go(n=1000):\n    return pipe('x', num_inference_steps=n)\ngo()", "unsafe"),
        ("def go(n=1000):\n    print(n)\n    return pipe('x', num_inference_steps=n)\ngo()", "show"),
        ("def go(n):\n    return pipe('x', num_inference_steps=n)\ngo(1000)", "unsafe"),
        ("def go(n):\n    print(n)\n    return pipe('x', num_inference_steps=n)\ngo(n=1000)", "show"),
        ("for n in (20, 1000):\n    pipe('x', num_inference_steps=n)", "unsafe"),
        ("for n in (20, 1000):\n    pipe('x', num_inference_steps=n).images[0].save(f'{n}.png')", "show"),
        ("n = 500\nn += 500\npipe('x', num_inference_steps=n)", "show"),
        ("class C:\n    N = 1000\npipe('x', num_inference_steps=C.N)", "unsafe"),
        ("class C:\n    N = 1000\npipe('x', num_inference_steps=C.N)\nprint(C.N)", "show"),
        ("def f():\n    n = 1\n    return n\nn = 1000\npipe('x', num_inference_steps=n)", "unsafe"),
        ("n = 1000\ndef f():\n    return n\npipe('x', num_inference_steps=n)", "unsafe"),
    ],
)
def test_values_of_a_script(text: str, kind: str) -> None:
    subject = script(START + text)
    (fix,) = fixes(subject, "UN101")
    assert fix.kind == kind
    assert bool(apply_fixes(subject, [fix])) == (kind != "show")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pipe.scheduler = {}\npipe('x', num_inference_steps=4)", "safe"),
        ("s = {}\npipe.scheduler = s\npipe('x', num_inference_steps=4)", "safe"),
        ("s = {}\npipe.scheduler = s\ns.set_timesteps(9)\npipe('x', num_inference_steps=4)", "show"),
        ("pipe.scheduler = {}\npipe('x', num_inference_steps=4)\na(pipe.scheduler)\nb(pipe.scheduler)", "show"),
    ],
)  # fmt: skip
def test_settings_of_an_object(text: str, kind: str) -> None:
    made = 'EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="leading")'
    (fix,) = fixes(script(START + text.replace("{}", made)), "UN106")
    assert fix.kind == kind


def test_options_of_a_command_line() -> None:
    text = START + "import argparse\np = argparse.ArgumentParser()\np.add_argument('--steps', default=1000)\n"
    text += "args = p.parse_args()\npipe('x', num_inference_steps=args.steps)\n"
    assert [fix.kind for fix in fixes(script(text), "UN101")] == ["unsafe"]
    assert [fix.kind for fix in fixes(script(text + "print(args.steps)\n"), "UN101")] == ["show"]


def sampling(number: str, size: str) -> dict[str, Any]:
    inputs = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    wires = {"model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": [size, 0]}
    save = {"class_type": "SaveImage", "inputs": {"images": [f"8{number}", 0], "filename_prefix": "x"}}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": [number, 0], "vae": ["4", 2]}}
    return {number: {"class_type": "KSampler", "inputs": inputs | wires}, f"8{number}": decode, f"9{number}": save}


@pytest.mark.parametrize(("sizes", "kind"), [(("5",), "safe"), (("5", "5"), "show")])
def test_nodes_of_a_workflow(sizes: tuple[str, ...], kind: str) -> None:
    nodes: dict[str, Any] = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1001, "height": 1024, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    }
    for at, size in enumerate(sizes):
        nodes |= sampling(str(30 + at), size)
    subject = comfyui(nodes)
    assert json.loads(subject.texts["workflow.json"]) == nodes
    assert {fix.kind for fix in fixes(subject, "UN307")} == {kind}


def test_variables_of_a_shell() -> None:
    line = "accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors"
    line += " --guidance_scale $G"
    assert [fix.kind for fix in fixes(command(f"G=3.5\n{line}\n"), "UN503")] == ["safe"]
    twice = fixes(command(f"G=3.5\n{line}\npython sample.py --guidance $G\n"), "UN503")
    assert [fix.kind for fix in twice] == ["show"]


def test_fix_writes_no_constant_that_another_call_reads(tmp_path: Path) -> None:
    from unnoise.cli.main import main

    path = tmp_path / "make.py"
    text = START + "STEPS = 1000\npipe('x', num_inference_steps=STEPS)\nbetas = torch.linspace(0, 1, STEPS)\n"
    path.write_text(text)
    main(["check", str(path), "--fix", "--unsafe"])
    assert path.read_text() == text.replace("num_inference_steps=STEPS", "num_inference_steps=50")
