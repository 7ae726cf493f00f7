"""Infotext as AUTOMATIC1111, Forge, SD.Next, Fooocus and stable-diffusion.cpp write it."""

from typing import Any

import pytest

from unnoise.check.read.infotext import read_infotext
from unnoise.check.subject import GenerationRun, Location

A1111 = """a lighthouse at dawn, <lora:style:0.7>
in fog
Negative prompt: blurry, text
, watermark
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 832x1216, Model hash: 31e35c80fc, \
Model: sd_xl_base_1.0, VAE hash: 235745af8d, VAE: sdxl_vae.safetensors, Clip skip: 2, \
Lora hashes: "style: 0123456789ab, other: cd", RNG: CPU, Version: v1.10.1"""


def one(text: str) -> GenerationRun:
    subject = read_infotext(text, "a.png")
    assert not subject.faults
    (run,) = subject.runs
    assert subject.tool == run.tool
    return run


def values(run: GenerationRun, *names: str) -> tuple[Any, ...]:
    return tuple(located.value if (located := getattr(run, name)) else None for name in names)


def test_a1111() -> None:
    run = one(A1111)
    assert run.tool == "a1111"
    assert run.task == "text"
    assert values(run, "steps", "guidance", "seed", "width", "height") == (25, 6.5, 42, 832, 1216)
    assert values(run, "sampler", "grid", "clip_skip", "seed_device") == ("DPM++ 2M", "Karras", 2, "CPU")
    assert values(run, "prompt") == ("a lighthouse at dawn, <lora:style:0.7>\nin fog",)
    assert values(run, "negative") == ("blurry, text\n, watermark",)
    assert run.model is not None
    assert (run.model.name, run.model.identity.family) == ("sd_xl_base_1.0", "sdxl")
    assert run.vae is not None
    assert run.vae.name == "sdxl_vae.safetensors"
    assert run.others["Lora hashes"].value == "style: 0123456789ab, other: cd"
    assert run.others["Model hash"].value == "31e35c80fc"
    assert run.guidance is not None
    assert run.guidance.place == Location("a.png", ("CFG scale",))


def line(extra: str, sampler: str = "Euler a", model: str = "my-model") -> str:
    return f"a boat\nSteps: 20, Sampler: {sampler}, CFG scale: 7, Seed: 1, Size: 512x512, Model: {model}{extra}"


@pytest.mark.parametrize(
    ("extra", "task", "strength"),
    [
        ("", "text", None),
        (", Denoising strength: 0.4", "image", 0.4),
        (", Denoising strength: 0.75, Mask blur: 4", "inpaint", 0.75),
        (", Denoising strength: 0.5, Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent", "text", None),
    ],
)
def test_tasks(extra: str, task: str, strength: float | None) -> None:
    """The denoising of a second pass is not that of the run."""
    run = one(line(extra))
    assert (run.task, *values(run, "strength")) == (task, strength)


@pytest.mark.parametrize(
    ("extra", "tool", "embedded"),
    [
        (", Version: v1.10.1", "a1111", None),
        (", Version: f2.0.1v1.10.1-previous-659-gc055f2d4", "forge", None),
        (", Distilled CFG Scale: 3.5", "forge", 3.5),
        (", App: SD.Next, Version: 0ebe9c2, Pipeline: StableDiffusionPipeline", "a1111", None),
        (", Styles: \"['Fooocus V2']\", Performance: Speed, Version: Fooocus v2.5.5", "fooocus", None),
    ],
)
def test_tools(extra: str, tool: str, embedded: float | None) -> None:
    run = one(line(extra))
    assert (run.tool, *values(run, "embedded")) == (tool, embedded)


@pytest.mark.parametrize(
    ("sampler", "grid"), [("DPM++ 2M Karras", "Karras"), ("DPM++ 2M SDE Exponential", "Exponential"), ("Euler a", None)]
)
def test_one_name_of_sampler_and_spacing(sampler: str, grid: str | None) -> None:
    assert values(one(line("", sampler)), "sampler", "grid") == (sampler, grid)


@pytest.mark.parametrize(("model", "embedded"), [("v1-5-pruned-emaonly", None), ("flux1-dev", 3.5)])
def test_stable_diffusion_cpp(model: str, embedded: float | None) -> None:
    """It writes its default of the weight that a net takes for every model."""
    run = one(
        "a field\nSteps: 30, CFG scale: 5.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 197583933, Size: 512x512, "
        f"Model: , RNG: cuda, Sampler: dpm++2mv2 karras, Unet: {model}.safetensors, Version: stable-diffusion.cpp"
    )
    assert run.tool == "sdcpp"
    assert values(run, "sampler", "grid", "guidance", "embedded") == ("dpm++2mv2", "karras", 5.0, embedded)
    assert run.model is not None
    assert run.model.name == f"{model}.safetensors"


@pytest.mark.parametrize(
    ("tag", "name", "strength"),
    [
        ("<lora:a b-c_d:0.8>", "a b-c_d", 0.8),
        ("<lora:a>", "a", 1.0),
        ("<lora:a:0.5:0.9>", "a", 0.9),
        ("<lora:a:te=0.2:unet=0.6>", "a", 0.6),
        ("<lyco:a:-1>", "a", -1.0),
        ("<lora:a:x>", "a", None),
    ],
)
def test_loras(tag: str, name: str, strength: float | None) -> None:
    run = one(line("").replace("a boat", f"a boat {tag}, sunny\nNegative prompt: <lora:not:1>"))
    (use,) = run.adapters
    assert (use.adapter.name, use.strength.value if use.strength else None) == (name, strength)
    assert use.base is run.model


def test_lines_behind_the_parameters() -> None:
    run = one(f"{line('')}\nTemplate: a {{boat|ship}}\nNegative Template: ")
    assert values(run, "steps", "prompt") == (20, "a boat")


def test_loras_beside_the_prompt() -> None:
    """Fooocus names them with their weights."""
    run = one(
        line(", Lora hashes: 'a: 0123456789', Lora weights: \"sd_xl_offset: 0.1, b:c: -1, d\", Version: Fooocus v2")
    )
    assert [(use.adapter.name, use.strength.value if use.strength else None) for use in run.adapters] == [
        ("sd_xl_offset", 0.1),
        ("b:c", -1.0),
    ]


@pytest.mark.parametrize(
    ("model", "hashed", "family"),
    [
        ("Model: my-model", "31e35c80fc", "sdxl"),
        ("Model: my-model", "0123456789", "unknown"),
        ("Model: dreamshaper_8", "0123456789", "sd1"),
        ("Model: my-model.safetensors", "7440042bbd", "sdxl refiner"),
        ("Model: my_xl_mix_v2", "", "sdxl"),
        ("Model: realisticVisionV51_v51VAE", "", "sd1"),
        ("Unet: flux1-dev-q8_0", "", "flux1 dev"),
    ],
)
def test_the_base_is_known_by_its_hash_or_its_name(model: str, hashed: str, family: str) -> None:
    """The hash says what the file is; a name may be anything."""
    stated = f", Model hash: {hashed}" if hashed else ""
    run = one(f"a boat\nSteps: 20, Sampler: Euler a, CFG scale: 7{stated}, {model}")
    assert run.model is not None
    assert (run.model.name, str(run.model.identity)) == (model.partition(": ")[2], family)


@pytest.mark.parametrize(("hashed", "family"), [("7460a6fa", "sd1"), ("6ce0161689", "sd1"), ("ffffffff", None)])
def test_records_of_2022_have_only_the_hash(hashed: str, family: str | None) -> None:
    run = one(f"a boat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: {hashed}")
    assert (run.model.identity.family if run.model else None) == family


@pytest.mark.parametrize("size", ["512", "x", "512x", "9999999x5", "512x512x512"])
def test_odd_numbers_are_left_out(size: str) -> None:
    run = one(f"a\nSteps: many, CFG scale: nan, Seed: {'9' * 400}, Size: {size}, Clip skip: 1.5, Sampler: ")
    assert values(run, "steps", "guidance", "seed", "width", "clip_skip") == (None,) * 5


@pytest.mark.parametrize("text", ["", "words", "a: b, c: d", "Steps: 20", '"' * 99, "ab:" * 99, "a\n" * 99])
def test_files_that_are_no_infotext(text: str) -> None:
    subject = read_infotext(text, "a.png")
    assert [fault.kind for fault in subject.faults] == ["unknown"]


@pytest.mark.parametrize("text", ["a" * 999_999, "ab:" * 300_000, 'a:"' * 300_000, '"' * 999_999, "<lora:" * 150_000])
def test_long_texts_take_linear_time(text: str) -> None:
    assert not read_infotext(text, "a.png").runs
