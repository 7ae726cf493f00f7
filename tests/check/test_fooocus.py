"""Metadata that Fooocus writes into images, and its presets."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from unnoise.check.engine import judge
from unnoise.check.read.dispatch import read, read_text
from unnoise.check.read.fooocus import is_record, read_record
from unnoise.check.subject import GenerationRun, Location

RECORD: dict[str, Any] = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "clip_skip": 2,
    "full_negative_prompt": ["blurry", "anime"],
    "full_prompt": ["a lighthouse", "cinematic still a lighthouse"],
    "guidance_scale": 4,
    "loras": [["sd_xl_offset_example-lora_1.0", 0.1, "4852686128"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "blurry",
    "performance": "Speed",
    "prompt": "a lighthouse",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "42",
    "sharpness": 2,
    "steps": 30,
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}
PRESET: dict[str, Any] = {
    "default_model": "juggernautXL_v8Rundiffusion.safetensors",
    "default_refiner": "None",
    "default_refiner_switch": 0.5,
    "default_loras": [
        [True, "sd_xl_offset_example-lora_1.0.safetensors", 0.1],
        [False, "other.safetensors", 1.0],
        [True, "None", 1.0],
        ["old.safetensors", 0.5],
    ],
    "default_cfg_scale": 4.0,
    "default_sample_sharpness": 2.0,
    "default_sampler": "dpmpp_2m_sde_gpu",
    "default_scheduler": "karras",
    "default_performance": "Speed",
    "default_prompt": "",
    "default_prompt_negative": "blurry",
    "default_aspect_ratio": "1152*896",
    "checkpoint_downloads": {},
}


def one(content: dict[str, Any]) -> GenerationRun:
    assert is_record(content)
    subject = read_record(content, "a.png")
    assert (subject.tool, subject.faults) == ("fooocus", ())
    (run,) = subject.runs
    return run


def values(run: GenerationRun, *names: str) -> tuple[Any, ...]:
    return tuple(located.value if (located := getattr(run, name)) else None for name in names)


def adapters(run: GenerationRun) -> list[tuple[str, Any]]:
    return [(use.adapter.name, use.strength.value if use.strength else None) for use in run.adapters]


def test_a_record() -> None:
    run = one(RECORD)
    assert (run.tool, run.task) == ("fooocus", "text")
    assert values(run, "prompt", "negative", "seed", "steps") == ("a lighthouse", "blurry", 42, 30)
    assert values(run, "guidance", "width", "height", "clip_skip") == (4, 1152, 896, 2)
    assert values(run, "sampler", "grid") == ("dpmpp_2m_sde_gpu", "karras")
    assert run.model is not None
    assert (run.model.identity.family, run.model.place) == ("sdxl", Location("a.png", ("base_model",)))
    assert adapters(run) == [("sd_xl_offset_example-lora_1.0", 0.1)]
    assert run.vae is None


def test_a_preset() -> None:
    run = one(PRESET)
    assert values(run, "guidance", "width", "height", "negative", "steps") == (4.0, 1152, 896, "blurry", None)
    assert adapters(run) == [("sd_xl_offset_example-lora_1.0.safetensors", 0.1), ("old.safetensors", 0.5)]
    assert run.model is not None
    assert run.model.place == Location("a.png", ("default_model",))


@pytest.mark.parametrize(
    ("performance", "variant"),
    [("Extreme Speed", "lcm"), ("Lightning", "lightning"), ("Hyper-SD", "hyper"), ("Quality", ""), ("Speed", "")],
)
def test_performances_of_few_steps(performance: str, variant: str) -> None:
    """They add a LoRA and guide with 1, whatever guidance scale is recorded."""
    run = one({**RECORD, "performance": performance, "steps": 4, "loras": []})
    assert [use.adapter.identity.variant for use in run.adapters] == ([variant] if variant else [])
    assert values(run, "guidance") == (None if variant else 4,)


def test_the_hash_says_what_the_model_is() -> None:
    run = one({**RECORD, "base_model": "mine", "base_model_hash": "31e35c80fc"})
    assert run.model is not None
    assert str(run.model.identity) == "sdxl"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (RECORD, True),
        (PRESET, True),
        ({"base_model": "a", "performance": "Speed"}, True),
        ({"base_model": "a"}, False),
        ({"default_model": "a"}, False),
        ({"base_model_name_or_path": "a", "peft_type": "LORA"}, False),
        ({}, False),
    ],
)
def test_what_is_a_record(content: dict[str, Any], expected: bool) -> None:
    assert is_record(content) == expected


@pytest.mark.parametrize("value", [None, [], {}, True, "", "x" * 99, [None, [1], ["a"]], {"a": 1}, 1e999, 10**30, [[]]])
@pytest.mark.parametrize("content", [RECORD, PRESET], ids=["record", "preset"])
def test_odd_values(content: dict[str, Any], value: object) -> None:
    """Whatever stands for a setting, the record is read."""
    judge(read_record(dict.fromkeys(content, value), "a.png"))


def test_files(tmp_path: Path) -> None:
    """The record lies in a text of PNG, or in a comment beside the part for the camera; a preset is a file."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", json.dumps(RECORD))
    info.add_text("fooocus_scheme", "fooocus")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=info)
    exif = Image.Exif()
    exif[0x9286] = json.dumps(RECORD)
    exif[0x0131] = "Fooocus v2.5.5"
    exif[0x927C] = "fooocus"
    Image.new("RGB", (64, 64)).save(tmp_path / "b.jpg", exif=exif)
    (tmp_path / "c.json").write_text(json.dumps(PRESET))
    for name in ("a.png", "b.jpg", "c.json"):
        subject = read(tmp_path / name)
        assert (subject.tool, values(subject.runs[0], "guidance")) == ("fooocus", (4.0,)), name


def test_rules_find_what_they_find_elsewhere() -> None:
    """ComfyUI's names of samplers are known, and settings of few steps are judged."""
    text = json.dumps({**RECORD, "performance": "Lightning", "steps": 30})
    found = {one_.rule.id: one_ for one_ in judge(read_text(text, Path("a.json")))}
    assert found["UN122"].place.keys == ("steps",)
    assert not judge(read_text(json.dumps(RECORD), Path("a.json")))
    assert not judge(read_text(json.dumps(PRESET), Path("a.json")))


RUINED: dict[str, Any] = {
    "Prompt": "a lighthouse", "Negative": "blurry", "steps": 30, "cfg": 6, "width": 1152, "height": 896, "seed": 5,
    "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras", "base_model_name": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e6", "start_step": 0, "denoise": None, "clip_skip": 1, "software": "RuinedFooocus",
}  # fmt: skip


@pytest.mark.parametrize(
    "loras",
    [
        "<None:1>,<sd_xl_offset_example-lora_1.0.safetensors:0.1>",
        [["4852686128", "0.1 - sd_xl_offset_example-lora_1.0.safetensors"], ["", "1.0 - None"], "broken", [1]],
    ],
)
def test_records_of_ruined_fooocus(loras: Any) -> None:
    record = RUINED | {"loras": loras}
    assert is_record(record)
    (run,) = read_record(record, "picture.png").runs
    settings = [
        run.prompt,
        run.negative,
        run.steps,
        run.guidance,
        run.width,
        run.height,
        run.sampler,
        run.grid,
        run.seed,
    ]
    read_ = [one.value if one else None for one in settings]
    assert read_ == ["a lighthouse", "blurry", 30, 6, 1152, 896, "dpmpp_2m_sde_gpu", "karras", 5]
    assert run.model is not None
    assert run.model.identity.family == "sdxl"
    (use,) = run.adapters
    assert use.adapter.name == "sd_xl_offset_example-lora_1.0.safetensors"
    assert use.strength is not None
    assert use.strength.value == 0.1
