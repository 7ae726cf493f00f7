"""A paused sample is stored in a safe file, and goes on from it in another process to the uninterrupted result."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.write import write
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.generation.engine import Engine, Live
from unnoise.generation.images import RawImages
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Sample
from unnoise.generation.stored import KEY, PLACE, load, save
from unnoise.pipeline import Pipeline
from unnoise.sampling.registry import SAMPLERS

CLOSE = 1e-5


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("stored")
    made = tiny.saved(folder / "tiny.safetensors")
    write(folder / "one.safetensors", adapter(made, seed=1), dtype=torch.float32)
    return made


def paused(pipeline: Pipeline, after: int, **options: Any) -> Live:
    engine = Engine(pipeline)
    (ticket,) = engine.admit(resolve(request_of("a cat", **options), pipeline))
    for _ in range(after):
        engine.step()
    return engine.pause(ticket)


def finished(pipeline: Pipeline, live: Live) -> Sample:
    engine, found = Engine(pipeline), list[Sample]()
    engine.resume(live)
    while not engine.idle:
        found += engine.step().finished.values()
    (sample,) = found
    return sample


@pytest.mark.parametrize("sampler", ["ab", "heun", "euler-a", "sa-solver", "dpmpp-3m", "dpmpp-2s-sde"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stored_sample_goes_on_to_the_same_bits(pipeline: Pipeline, tmp_path: Path, sampler: str, after: int) -> None:
    options = {"seed": 3, "steps": 5, "sampler": sampler}
    save(tmp_path / "a.safetensors", pipeline, paused(pipeline, after, **options))
    whole = pipeline.generate("a cat", **options)[0]
    sample = finished(pipeline, load(tmp_path / "a.safetensors", pipeline))
    assert torch.equal(sample.x0, whole.x0)
    assert sample.metadata == whole.metadata
    assert torch.equal(pipeline.replay(sample).x0, whole.x0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_can_be_stored_at_every_call(pipeline: Pipeline, tmp_path: Path, sampler: str) -> None:
    options = {"seed": 3, "sampler": sampler, "schedule": (80.0, 5.0, 0.5, 0.1, 0.0), "guidance_scale": 1}
    whole = pipeline.generate("a cat", **options)[0]
    for after in range(sum(shape.calls for shape in whole.metadata.calls)):
        save(tmp_path / "a.safetensors", pipeline, paused(pipeline, after, **options))
        load(tmp_path / "a.safetensors", pipeline)
    assert torch.equal(finished(pipeline, load(tmp_path / "a.safetensors", pipeline)).x0, whole.x0)


def photo() -> Image.Image:
    return Image.radial_gradient("L").resize((16, 16)).convert("RGB")


@pytest.mark.parametrize(
    "options",
    [
        {"image": photo(), "strength": 0.7},
        {"image": photo(), "mask": Image.linear_gradient("L").resize((16, 16)), "resample": 2},
        {"image": photo(), "outpaint": (0, 0, 8, 0)},
        {"image": photo(), "source_prompt": "a dog", "sampler": "ddim"},
        {"variation": 0.4, "variation_seed": 8},
        {"lora": "one.safetensors"},
    ],
    ids=lambda one: ",".join(one),
)
def test_a_stored_edit_goes_on(
    pipeline: Pipeline, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]
) -> None:
    loras = ()
    if "lora" in options:
        write(tmp_path / "one.safetensors", adapter(pipeline, seed=1), dtype=torch.float32)
        loras = ((read(tmp_path / "one.safetensors", pipeline), 0.5),)
        options = {"lora": {loras[0][0]: 0.5}}
    options = {"seed": 3, "steps": 4, **options}
    save(tmp_path / "a.safetensors", pipeline, paused(pipeline, 2, **options))
    images = RawImages(image=options.get("image"), mask=options.get("mask"))
    sample = finished(pipeline, load(tmp_path / "a.safetensors", pipeline, images, loras))
    whole = pipeline.generate("a cat", **options)[0]
    assert torch.equal(sample.x0, whole.x0)
    assert sample.image.tobytes() == whole.image.tobytes()
    assert sample.metadata == whole.metadata


def test_a_sample_of_a_batch_goes_on_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    engine = Engine(pipeline)
    tickets = engine.admit(resolve(request_of("a cat", seed=3, n=3, steps=4, sampler="euler-a"), pipeline))
    engine.step()
    engine.step()
    save(tmp_path / "a.safetensors", pipeline, engine.pause(tickets[1]))
    sample = finished(pipeline, load(tmp_path / "a.safetensors", pipeline))
    whole = pipeline.generate("a cat", seed=4, steps=4, sampler="euler-a")[0]
    assert float((sample.x0 - whole.x0).abs().max()) < CLOSE
    assert sample.metadata.seed == 4
    assert torch.equal(pipeline.replay(sample).x0, sample.x0), "its metadata has the calls before and after"


RESUME = """
import sys, torch
from unnoise.generation.engine import Engine
from unnoise.generation.stored import load as load_stored
from unnoise.loading import load
torch.set_num_threads(int(sys.argv[3]))
pipeline = load(sys.argv[1])
engine = Engine(pipeline)
engine.resume(load_stored(sys.argv[2], pipeline))
while not engine.idle:
    for sample in engine.step().finished.values():
        sample.save(sys.argv[2] + ".png")
"""


def test_another_process_goes_on(pipeline: Pipeline, tmp_path: Path) -> None:
    options = {"seed": 3, "steps": 5, "sampler": "dpmpp-2m-sde"}
    tiny.saved(tmp_path / "tiny.safetensors")
    save(tmp_path / "a.safetensors", pipeline, paused(pipeline, 2, **options))
    command = [sys.executable, "-c", RESUME, str(tmp_path / "tiny.safetensors"), str(tmp_path / "a.safetensors")]
    subprocess.run([*command, str(torch.get_num_threads())], check=True)
    pipeline.generate("a cat", **options)[0].save(tmp_path / "whole.png")
    assert (tmp_path / "a.safetensors.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_the_file_is_safetensors(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, pipeline, paused(pipeline, 3, seed=3, steps=5, sampler="dpmpp-3m"))
    with safe_open(path, "pt") as file:
        assert set(file.keys()) >= {"x"}
        assert set(file.metadata()) >= {KEY, PLACE}
    assert set(json.loads(read_header(path).metadata[PLACE])) == {"i", "stage", "level"}


def changed(path: Path, metadata: dict[str, str | None] | None = None, **tensors: torch.Tensor | None) -> Path:
    held: dict[str, Any] = {**load_file(path), **tensors}
    header = {**read_header(path).metadata, **(metadata or {})}
    save_file({name: value for name, value in held.items() if value is not None}, path.with_name("changed.safetensors"),
              {name: value for name, value in header.items() if value is not None})  # fmt: skip
    return path.with_name("changed.safetensors")


@pytest.mark.parametrize(
    ("metadata", "tensors", "fault"),
    [
        ({KEY: None}, {}, "not a paused sample"),
        ({PLACE: None}, {}, "not a paused sample"),
        ({KEY: "{}"}, {}, "metadata: field .* is missing"),
        ({PLACE: "x"}, {}, "must have the numbers i, stage and level"),
        ({PLACE: '{"i": 2}'}, {}, "must have the numbers i, stage and level"),
        ({PLACE: '{"i": 99, "stage": 0, "level": "1.0"}'}, {}, "i 99: a whole number from 0 to 4"),
        ({PLACE: '{"i": 5, "stage": 0, "level": "0.0"}'}, {}, "i 5: a whole number from 0 to 4"),
        ({PLACE: '{"i": 1.0, "stage": 0, "level": "1.0"}'}, {}, "i 1.0: a whole number"),
        ({PLACE: '{"i": 1, "stage": 99, "level": "1.0"}'}, {}, "stage 99"),
        ({PLACE: '{"i": 1, "stage": 0, "level": "nan"}'}, {}, "level"),
        ({PLACE: '{"i": 1, "stage": 0, "level": "-1"}'}, {}, "level"),
        ({PLACE: '{"i": 2, "stage": 0, "level": "77"}'}, {}, "level 77: must be .* at step 2, stage 0"),
        ({}, {"x": None}, "tensors memory.0: must be x, memory.0"),
        ({}, {"x": torch.full((1, 4, 4, 4), torch.nan)}, "must be finite and of shape"),
        ({}, {"x": torch.zeros(1, 4, 4, 5)}, "must be finite and of shape"),
        ({}, {"memory.0": torch.zeros(3)}, "must be finite and of shape"),
        ({}, {"other": torch.zeros(3)}, "tensors memory.0, other, x: must be x, memory.0"),
        ({}, {"memory.0": None}, "tensors x: must be x, memory.0"),
        ({}, {"memory.1": torch.zeros(1, 4, 4, 4)}, "must be x, memory.0"),
    ],
    ids=str,
)
def test_an_unsound_file_is_refused(
    pipeline: Pipeline, tmp_path: Path, metadata: dict[str, Any], tensors: dict[str, Any], fault: str
) -> None:
    save(tmp_path / "a.safetensors", pipeline, paused(pipeline, 2, seed=3, steps=5, sampler="ab"))
    with pytest.raises(InputError, match=fault) as caught:
        load(changed(tmp_path / "a.safetensors", metadata, **tensors), pipeline)
    assert "\n" not in str(caught.value)


def test_another_model_or_image_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, pipeline, paused(pipeline, 2, seed=3, steps=5, image=photo()))
    with pytest.raises(InputError, match=r"image: the metadata names one of sha256 .*, and another is given"):
        load(path, pipeline, RawImages(image=photo().rotate(90)))
    with pytest.raises(InputError, match=r"acts on an image, and none is given|image: the metadata names"):
        load(path, pipeline)
    other = replace(pipeline, card=replace(pipeline.card, fingerprint="0" * 64))
    with pytest.raises(InputError, match="metadata: drawn by 'tiny' with weights"):
        load(path, other, RawImages(image=photo()))
    with pytest.raises(InputError, match="lora: 1 given, and the sample was drawn with 0"):
        load(path, pipeline, RawImages(image=photo()), ((adapter(pipeline, seed=1), 1.0),))
