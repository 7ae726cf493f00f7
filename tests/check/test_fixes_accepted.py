"""Fixes that the owner of a file accepts: kinds of wrong ones that were met in 200 public files."""

import json
from pathlib import Path
from typing import Any

import pytest

from check.test_comfyui import api, node
from check.test_fix_files import START, fixed
from unnoise.check.catalogue import entry
from unnoise.check.engine import judge
from unnoise.check.examples import comfyui, command, script, workflow
from unnoise.check.rule import Finding
from unnoise.check.subject import Subject

FLUX = "accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors"
LIGHTX = "Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32.safetensors"


def found(subject: Subject, rule: str) -> list[Finding]:
    return judge(subject, [entry(rule)])


def kinds(subject: Subject, rule: str) -> list[str]:
    return [one.fix.kind for one in found(subject, rule) if one.fix is not None]


@pytest.mark.parametrize("read", ["int(job['steps'])", "job['steps']", "job.get('steps')"])
def test_an_expression_is_not_replaced_by_a_number(tmp_path: Path, read: str) -> None:
    text = f"""{START}
def draw(job):
    print(job)
    return turbo(job["prompt"], guidance_scale=0.0, num_inference_steps={read})
draw({{"prompt": "a crab", "steps": 30}})
"""
    assert fixed(tmp_path / "make.py", text) == text


def test_a_sum_of_numbers_is_replaced(tmp_path: Path) -> None:
    text = f"{START}turbo('a', guidance_scale=0.0, num_inference_steps=5 * 6)\n"
    assert fixed(tmp_path / "make.py", text) == text.replace("5 * 6", "4")


@pytest.mark.parametrize(("cfg", "kind"), [(7.0, "unsafe"), (1.2, "show")])
def test_an_unsafe_fix_of_a_finding_in_doubt_is_shown(cfg: float, kind: str) -> None:
    assert kinds(workflow(checkpoint="sd_xl_turbo_1.0_fp16.safetensors", cfg=cfg, steps=2), "UN402") == [kind]


def test_guidance_that_a_slider_rounds_is_off() -> None:
    files = {"checkpoint": "sd_xl_turbo_1.0_fp16.safetensors", "steps": 2}
    assert not found(workflow(cfg=1.0000000000000002, **files), "UN402")
    assert found(workflow(cfg=1.01, **files), "UN402")


def loaded(strength: float, **inputs: Any) -> Subject:
    """Return a workflow with a distilled LoRA of a strength."""
    lora = node("LoraLoader", lora_name="sdxl_lightning_4step_lora.safetensors", strength_model=strength,
                strength_clip=1.0, model=["4", 0], clip=["4", 1])  # fmt: skip
    nodes = api(_10=lora)
    nodes["3"]["inputs"] |= {"sampler_name": "euler", "scheduler": "sgm_uniform"} | inputs
    return comfyui(nodes)


@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_a_distilled_lora_at_half_strength_leaves_room_for_guidance(strength: float) -> None:
    subject = loaded(strength, cfg=6.0, steps=30)
    assert not found(subject, "UN402")
    assert not found(subject, "UN122")
    full = loaded(1.0, cfg=6.0, steps=30)
    assert found(full, "UN402")
    assert found(full, "UN122")


def test_the_steps_of_a_lora_are_those_that_it_was_made_for() -> None:
    (one,) = found(loaded(1.0, cfg=1.0, steps=30), "UN122")
    assert one.fix is not None
    assert (one.suggestion, [change.value for change in one.fix.changes]) == ("use 4 steps", [4])


@pytest.mark.parametrize(
    ("begin", "end", "kind"), [(0, 10000, "unsafe"), (0, 30, "unsafe"), (0, 15, "show"), (10, 10000, "show")]
)
def test_steps_that_other_settings_count_are_shown(begin: int, end: int, kind: str) -> None:
    inputs = {"add_noise": "enable", "noise_seed": 1, "start_at_step": begin, "end_at_step": end}
    nodes = json.loads(next(iter(loaded(1.0, cfg=1.0, steps=30).texts.values())))
    nodes["3"] = {"class_type": "KSamplerAdvanced", "inputs": nodes["3"]["inputs"] | inputs}
    assert kinds(comfyui(nodes), "UN122") == [kind]


def test_both_samplers_of_a_pair_are_fixed(tmp_path: Path) -> None:
    nodes = json.loads(next(iter(loaded(1.0, cfg=6.0, steps=8).texts.values())))
    first = nodes["3"]["inputs"] | {"noise_seed": 1, "add_noise": "enable", "start_at_step": 0, "end_at_step": 4}
    second = first | {"add_noise": "disable", "start_at_step": 4, "end_at_step": 8, "latent_image": ["3", 0]}
    nodes["3"] = {"class_type": "KSamplerAdvanced", "inputs": first}
    nodes["30"] = {"class_type": "KSamplerAdvanced", "inputs": second}
    nodes["8"]["inputs"]["samples"] = ["30", 0]
    text = json.dumps(nodes, indent=2)
    assert text.count('"cfg": 6.0') == 2
    assert fixed(tmp_path / "pair.json", text) == text.replace('"cfg": 6.0', '"cfg": 1.0')


@pytest.mark.parametrize(("old", "new"), [("7", "1"), ("7.0", "1.0"), ("7.5", "1.0")])
def test_a_whole_number_stays_whole(tmp_path: Path, old: str, new: str) -> None:
    text = f"{START}turbo('a', guidance_scale={old}, num_inference_steps=2)\n"
    assert fixed(tmp_path / "make.py", text) == text.replace(f"={old},", f"={new},")
    files = {"checkpoint": "sd_xl_turbo_1.0_fp16.safetensors", "steps": 2}
    text = next(iter(workflow(cfg=6.25, **files).texts.values()))  # type: ignore[arg-type]
    assert fixed(tmp_path / "a.json", text.replace("6.25", old)) == text.replace("6.25", new)


def test_a_stated_shift_of_training_is_put_to_use() -> None:
    def written(options: str) -> list[Any]:
        subject = command(f"{FLUX} --dataset_config data.toml --timestep_sampling sigmoid {options}\n")
        return [change.value for one in found(subject, "UN501") if one.fix for change in one.fix.changes]

    assert written("") == ["flux_shift"]
    assert written("--discrete_flow_shift 3.1582") == ["shift"]
    assert written("--discrete_flow_shift 1.0") == ["flux_shift"]


@pytest.mark.parametrize("negative", ["", "blurry"])
def test_guidance_that_a_negative_prompt_needs_is_shown(tmp_path: Path, negative: str) -> None:
    text = f"{START}turbo('a', negative_prompt='{negative}', guidance_scale=7, num_inference_steps=2)\n"
    assert fixed(tmp_path / "make.py", text) == (text if negative else text.replace("=7,", "=1,"))
    nodes = json.loads(next(iter(workflow(checkpoint="flux1-dev-fp8.safetensors", cfg=6.0, steps=20).texts.values())))
    nodes["7"]["inputs"]["text"] = negative
    assert kinds(comfyui(nodes), "UN404") == ["show" if negative else "unsafe"]


@pytest.mark.parametrize(("name", "kind"), [("test_base_draws_a_bear", "show"), ("draw", "unsafe")])
def test_a_run_of_a_test_is_shown(name: str, kind: str) -> None:
    drawn = "base('a bear', guidance_scale=20.0, num_inference_steps=30).images[0]"
    text = f"{START}def {name}():\n    {drawn}.save('a.png')\n{name}()\n"
    assert kinds(script(text), "UN401") == [kind]


VIDEO = "wan2.1_t2v_1.3B_fp16.safetensors"


@pytest.mark.parametrize("others", [0, 1])
def test_a_number_that_other_nodes_read_too_is_shown(others: int) -> None:
    nodes = json.loads(next(iter(workflow(checkpoint=VIDEO, cfg=6.0, steps=30).texts.values())))
    nodes["4"] = node("UNETLoader", unet_name=VIDEO, weight_dtype="default")
    nodes["5"] = node("EmptyHunyuanLatentVideo", width=832, height=480, length=["60", 0], batch_size=1)
    nodes["60"] = node("PrimitiveInt", value=80)
    nodes |= {str(70 + at): node("CM_IntToFloat", a=["60", 0]) for at in range(others)}
    assert kinds(comfyui(nodes), "UN308") == ["show" if others else "safe"]
