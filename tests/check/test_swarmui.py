"""Metadata that SwarmUI writes into images."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from unnoise.check.engine import judge
from unnoise.check.read.dispatch import read, read_text
from unnoise.check.read.swarmui import read_metadata
from unnoise.check.subject import GenerationRun, Location

RECORD: dict[str, Any] = {
    "prompt": "a lighthouse at dawn",
    "negativeprompt": "blurry",
    "model": "OfficialStableDiffusion/sd_xl_base_1.0",
    "images": 1,
    "seed": 42,
    "steps": 25,
    "cfgscale": 6.5,
    "aspectratio": "Custom",
    "width": 832,
    "height": 1216,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "loras": ["style/inked", "sdxl_lightning_4step_lora"],
    "loraweights": ["0.7", "0"],
    "clipstopatlayer": "-2",
    "automaticvae": True,
    "swarm_version": "0.9.6.2",
}


def one(changes: dict[str, Any], left_out: tuple[str, ...] = ()) -> GenerationRun:
    record = {key: value for key, value in {**RECORD, **changes}.items() if key not in left_out}
    subject = read_metadata({"sui_image_params": record, "sui_extra_data": {"date": "2025-01-01"}}, "a.png")
    assert (subject.tool, subject.faults) == ("swarmui", ())
    (run,) = subject.runs
    return run


def values(run: GenerationRun, *names: str) -> tuple[Any, ...]:
    return tuple(located.value if (located := getattr(run, name)) else None for name in names)


def test_a_record() -> None:
    run = one({})
    assert (run.tool, run.task) == ("swarmui", "text")
    assert values(run, "prompt", "negative", "seed", "steps") == ("a lighthouse at dawn", "blurry", 42, 25)
    assert values(run, "guidance", "width", "height", "clip_skip") == (6.5, 832, 1216, -2)
    assert values(run, "sampler", "grid", "embedded", "shift", "batch") == ("dpmpp_2m", "karras", None, None, None)
    assert run.model is not None
    assert (run.model.identity.family, run.model.place) == ("sdxl", Location("a.png", ("sui_image_params", "model")))
    assert [(use.adapter.name, use.strength and use.strength.value) for use in run.adapters] == [
        ("style/inked", 0.7),
        ("sdxl_lightning_4step_lora", 0.0),
    ]
    assert run.vae is None


def test_numbers_and_lists_may_be_texts() -> None:
    run = one({"steps": "25", "cfgscale": "6.5", "loras": "a,b", "loraweights": "1,0.5", "seed": "many", "width": 1.5})
    assert values(run, "steps", "guidance", "seed", "width") == (25, 6.5, None, None)
    assert [(use.adapter.name, use.strength and use.strength.value) for use in run.adapters] == [("a", 1.0), ("b", 0.5)]


@pytest.mark.parametrize(
    ("changes", "task", "strength"),
    [
        ({}, "text", None),
        ({"initimagecreativity": 0.6}, "image", 0.6),
        ({"initimage": "data", "initimagecreativity": "0.4"}, "image", 0.4),
        ({"initimage": "data", "maskimage": "data"}, "inpaint", None),
    ],
)
def test_tasks(changes: dict[str, Any], task: str, strength: float | None) -> None:
    run = one(changes)
    assert (run.task, *values(run, "strength")) == (task, strength)


def test_other_models() -> None:
    run = one(
        {"model": "flux1-dev-fp8.safetensors", "cfgscale": 1, "fluxguidancescale": "3.5", "vae": "ae.safetensors"}
    )
    assert run.model is not None
    assert (str(run.model.identity), values(run, "guidance", "embedded")) == ("flux1 dev", (1, 3.5))
    assert run.vae is not None
    video = one({"model": "wan2.1_t2v_1.3B_fp16", "textvideoframes": 33, "sigmashift": 8, "vae": "None"})
    assert (values(video, "frames", "shift"), video.vae) == ((33, 8), None)
    assert one({}, ("model", "loras")).model is None


@pytest.mark.parametrize(
    "content", [{"sui_image_params": []}, {"sui_image_params": None}, {"sui_image_params": "steps"}]
)
def test_broken_records(content: dict[str, Any]) -> None:
    assert [fault.kind for fault in read_metadata(content, "a.png").faults] == ["unknown"]


@pytest.mark.parametrize("value", [None, [], {}, True, "", "x" * 99, [None, 1, "a"], {"a": 1}, float("inf"), 10**30])
def test_odd_values(value: object) -> None:
    """Whatever stands for a parameter, the record is read."""
    judge(read_metadata({"sui_image_params": dict.fromkeys(RECORD, value)}, "a.png"))


def test_files(tmp_path: Path) -> None:
    """The record lies in a text of PNG, in the comment of JPEG, or beside the image."""
    record = json.dumps({"sui_image_params": RECORD})
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", record)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=info)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + record.encode("utf-16-le")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.jpg", exif=exif)
    for subject in (read(tmp_path / "a.png"), read(tmp_path / "b.jpg"), read_text(record, Path("c.json"))):
        assert (subject.tool, values(subject.runs[0], "steps")) == ("swarmui", (25,))


def test_rules_find_what_they_find_elsewhere() -> None:
    """ComfyUI's names of samplers are known, and settings of few steps are judged."""
    record = {**RECORD, "loraweights": ["0.7", "1"]}
    found = {one_.rule.id: one_ for one_ in judge(read_text(json.dumps({"sui_image_params": record}), Path("a.json")))}
    assert {"UN122", "UN402"} <= set(found)
    assert found["UN122"].place.keys == ("sui_image_params", "steps")
    assert not judge(read_text(json.dumps({"sui_image_params": RECORD}), Path("a.json")))


@pytest.mark.parametrize(("cfg", "wrong"), [(7, True), (1, False)])
def test_guidance_on_top_of_the_distilled_one(cfg: float, wrong: bool) -> None:
    left_out = ("sampler", "scheduler", "loras", "loraweights", "negativeprompt", "clipstopatlayer")
    record = {**RECORD, "model": "flux1-dev-fp8.safetensors", "cfgscale": cfg}
    record = {key: value for key, value in record.items() if key not in left_out}
    found = judge(read_text(json.dumps({"sui_image_params": record}), Path("a.json")))
    assert ("UN404" in {one.rule.id for one in found}) == wrong
