"""Records that InvokeAI writes into pictures, of version 2 to today."""

from typing import Any

import pytest

from unnoise.check.read.invokeai import BASES, read_metadata
from unnoise.check.subject import GenerationRun, Location
from unnoise.families.table import FAMILIES, VARIANTS

RECORD = {
    "generation_mode": "sdxl_txt2img",
    "positive_prompt": "a lighthouse",
    "negative_prompt": "blurry",
    "width": 1024,
    "height": 768,
    "seed": 42,
    "rand_device": "cpu",
    "cfg_scale": 6.5,
    "cfg_rescale_multiplier": 0.7,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 0,
    "model": {"key": "a", "hash": "blake3:b", "name": "My Mix", "base": "sdxl", "type": "main"},
    "vae": {"key": "c", "name": "sdxl-vae-fp16-fix", "base": "sdxl", "type": "vae"},
    "loras": [{"model": {"key": "d", "name": "style", "base": "sdxl", "type": "lora"}, "weight": 0.75}],
    "controlnets": [{"control_model": {"key": "e", "name": "depth", "base": "sdxl"}, "control_weight": 0.5}],
    "app_version": "5.6.0",
}


def one(content: dict[str, Any]) -> GenerationRun:
    (run,) = read_metadata(content, "a.png").runs
    return run


def values(run: GenerationRun, *names: str) -> tuple[Any, ...]:
    return tuple(located.value if (located := getattr(run, name)) else None for name in names)


def test_record_of_today() -> None:
    run = one(RECORD)
    assert (run.tool, run.task) == ("invokeai", "text")
    assert values(run, "prompt", "negative", "sampler") == ("a lighthouse", "blurry", "dpmpp_2m_k")
    assert values(run, "width", "height", "steps", "seed", "seed_device") == (1024, 768, 30, 42, "cpu")
    assert values(run, "guidance", "clip_skip", "embedded") == (6.5, 0, None)
    assert run.model is not None
    assert (run.model.name, run.model.identity.family) == ("My Mix", "sdxl")
    assert run.model.identity.known_by == "model.base sdxl"
    assert run.model.place == Location("a.png", ("model", "name"))
    assert [(use.adapter.name, use.strength.value if use.strength else 0) for use in run.adapters] == [
        ("style", 0.75),
        ("depth", 0.5),
    ]
    assert run.others["cfg_rescale_multiplier"].value == 0.7


@pytest.mark.parametrize(
    ("mode", "task"),
    [("txt2img", "text"), ("flux_img2img", "image"), ("sdxl_inpaint", "inpaint"), ("outpaint", "inpaint"), (5, "text")],
)
def test_tasks(mode: Any, task: str) -> None:
    assert one(RECORD | {"generation_mode": mode, "strength": 0.4}).task == task


def test_weight_that_the_net_takes() -> None:
    run = one(RECORD | {"guidance": 3.5, "cfg_scale": 1.0, "model": {"name": "FLUX Dev", "base": "flux"}})
    assert values(run, "guidance", "embedded") == (1.0, 3.5)
    assert run.model is not None
    assert run.model.identity.family == "flux1"


def test_record_of_version_3() -> None:
    model = {"model_name": "v1-5-pruned-emaonly", "base_model": "sd-1", "model_type": "main"}
    lora = {"lora": {"model_name": "style", "base_model": "sd-1"}, "weight": 0.5}
    run = one(RECORD | {"model": model, "loras": [lora], "controlnets": []})
    assert run.model is not None
    assert (run.model.name, run.model.identity.family) == ("v1-5-pruned-emaonly", "sd1")
    assert [use.adapter.name for use in run.adapters] == ["style"]


def test_record_of_version_2() -> None:
    image = {
        "prompt": [{"prompt": "a boat", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5, "sampler": "k_lms", "seed": 9,
        "width": 512, "height": 640, "type": "img2img", "strength": 0.6,
    }  # fmt: skip
    content = {"model": "stable diffusion", "model_weights": "stable-diffusion-1.5", "app_id": "invoke-ai/InvokeAI"}
    run = one(content | {"app_version": "v2.3.5", "image": image})
    assert run.task == "image"
    assert values(run, "prompt", "steps", "guidance", "sampler", "strength") == ("a boat", 50, 7.5, "k_lms", 0.6)
    assert run.steps is not None
    assert run.steps.place.keys == ("image", "steps")
    assert run.model is not None
    assert (run.model.name, run.model.place.keys) == ("stable-diffusion-1.5", ("model_weights",))


@pytest.mark.parametrize(
    "odd", [None, True, float("nan"), float("inf"), 10**400, "", [], [{}], [[]], {"name": 5}, [None]]
)
def test_odd_values_are_left_out(odd: Any) -> None:
    run = one(dict.fromkeys(RECORD, odd) | {"app_version": "5", "image": odd})
    assert run.model is None
    assert values(run, "steps", "guidance", "seed", "width") == (None,) * 4
    assert not run.adapters
    read_metadata({"app_id": odd, "image": {"prompt": odd, "steps": odd}, "model_weights": odd}, "a.png")


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"model": {"name": "x"}}])
def test_what_is_no_record(content: dict[str, Any]) -> None:
    assert [fault.kind for fault in read_metadata(content, "a.png").faults] == ["unknown"]


def test_bases_are_families() -> None:
    for family, variant in BASES.values():
        assert family in FAMILIES
        assert not variant or variant in VARIANTS[family]
