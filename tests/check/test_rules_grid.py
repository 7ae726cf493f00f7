"""Rules of the grid on files of real writers, and the faults that they describe in the installed diffusers."""

import json
import math
import warnings
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers
    from diffusers.loaders import single_file_utils

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import Finding, Severity
from unnoise.check.rules.grid._shared import levels
from unnoise.check.rules.grid.step_count_changes import _taken
from unnoise.check.rules.grid.wrong_betas import last_level
from unnoise.check.sample_headers import SAMPLE_HEADERS, UNET

SD1, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
SD3, WAN = "stabilityai/stable-diffusion-3.5-large", "Wan-AI/Wan2.1-T2V-14B-Diffusers"
A14B, FLUX = "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "black-forest-labs/FLUX.1-dev"
LIGHTNING = 'pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")'
STABLE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLASSES = sorted(name for name in dir(diffusers) if name.endswith("Scheduler") and hasattr(diffusers, name))


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def script(path: Path, model: str, text: str, call: str) -> Path:
    """Write a script: a pipeline, what is done to it, and the arguments of its call after the prompt."""
    head = f'from diffusers import *\npipe = DiffusionPipeline.from_pretrained("{model}")\n'
    path.write_text(f'{head}{dedent(text)}\npipe("a lighthouse", {call})\n')
    return path


def swap(class_: str, settings: str = "") -> str:
    return f"pipe.scheduler = {class_}.from_config(pipe.scheduler.config, {settings})"


SCRIPTS = [
    ("UN101", SD1, ("", "num_inference_steps=1000"), ("", "num_inference_steps=50")),
    (
        "UN101",
        SDXL,
        ("", "num_inference_steps=pipe.scheduler.config.num_train_timesteps"),
        ("", "num_inference_steps=asked"),
    ),
    ("UN102", SDXL, ("pipe.scheduler = DDPMScheduler()", ""), (swap("DDPMScheduler"), "")),
    ("UN102", SD1, (swap("DDIMScheduler", 'beta_schedule="linear"'), ""), (swap("DDIMScheduler"), "")),
    (
        "UN102",
        SD1,
        ("pipe.scheduler = EulerDiscreteScheduler()", ""),
        (f"pipe.scheduler = EulerDiscreteScheduler(**{STABLE})", ""),
    ),
    (
        "UN104",
        SD1,
        (swap("PNDMScheduler", "rescale_betas_zero_snr=True"), ""),
        (swap("DDIMScheduler", "rescale_betas_zero_snr=True"), ""),
    ),
    ("UN102", SD1, ("pipe.scheduler = DDIMScheduler()", ""), ("pipe.scheduler = DDIMScheduler(trained_betas=b)", "")),
    (
        "UN105",
        SD1,
        (swap("DDIMScheduler", "rescale_betas_zero_snr=True"), ""),
        (swap("DDIMScheduler", 'rescale_betas_zero_snr=True, prediction_type="v_prediction"'), ""),
    ),
    ("UN106", SDXL, ("", "num_inference_steps=8"), (swap("DDIMScheduler", 'timestep_spacing="trailing"'), "")),
    (
        "UN106",
        SDXL,
        (LIGHTNING, "num_inference_steps=4, guidance_scale=0"),
        (f"{LIGHTNING}\n{swap('LCMScheduler')}", "num_inference_steps=4, guidance_scale=0"),
    ),
    (
        "UN107",
        SDXL,
        (swap("DDIMScheduler", 'timestep_spacing="linspace"'), "num_inference_steps=10"),
        (swap("EulerDiscreteScheduler", 'timestep_spacing="linspace"'), "num_inference_steps=10"),
    ),
    ("UN108", SDXL, (swap("DDIMScheduler"), ""), (swap("DDIMScheduler", "set_alpha_to_one=True"), "")),
    ("UN108", SDXL, (swap("DDIMScheduler"), ""), (swap("EulerAncestralDiscreteScheduler"), "")),
    (
        "UN109",
        SDXL,
        (swap("DPMSolverMultistepScheduler", "use_karas_sigmas=True"), ""),
        (swap("DPMSolverMultistepScheduler", "use_karras_sigmas=True"), ""),
    ),
    (
        "UN109",
        SDXL,
        (swap("EulerDiscreteScheduler", 'timestep_spaceing="trailing"'), ""),
        (swap("EulerDiscreteScheduler", 'timestep_spacing="trailing"'), ""),
    ),
    ("UN110", SD1, ("", "eta=0.5"), (swap("DDIMScheduler"), "eta=0.5")),
    ("UN110", SDXL, (swap("UniPCMultistepScheduler"), "eta=1"), (swap("UniPCMultistepScheduler"), "eta=0.0")),
    (
        "UN111",
        SD3,
        (swap("DDIMScheduler"), ""),
        (
            swap(
                "DPMSolverMultistepScheduler",
                'use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0',
            ),
            "",
        ),
    ),
    ("UN111", FLUX, ("pipe.scheduler = EulerDiscreteScheduler()", ""), (swap("FlowMatchHeunDiscreteScheduler"), "")),
    (
        "UN111",
        A14B,
        (swap("PNDMScheduler"), ""),
        (swap("UniPCMultistepScheduler", "flow_shift=3.0"), "num_inference_steps=40"),
    ),
    (
        "UN112",
        SD3,
        (swap("FlowMatchEulerDiscreteScheduler", "shift=1.15"), ""),
        (swap("FlowMatchEulerDiscreteScheduler", "shift=3.0"), ""),
    ),
    (
        "UN112",
        FLUX,
        ("pipe.scheduler = FlowMatchEulerDiscreteScheduler()", ""),
        (swap("FlowMatchEulerDiscreteScheduler"), ""),
    ),
    (
        "UN112",
        SD3,
        ("pipe.scheduler = FlowMatchEulerDiscreteScheduler()", ""),
        ("pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)", ""),
    ),
    (
        "UN113",
        WAN,
        (swap("UniPCMultistepScheduler", "flow_shift=5.0"), "width=832, height=480"),
        (swap("UniPCMultistepScheduler", "flow_shift=5.0"), "num_frames=81"),
    ),
    (
        "UN116",
        SD1,
        (swap("DPMSolverMultistepScheduler", 'final_sigmas_type="sigma_min"'), "num_inference_steps=15"),
        (swap("DPMSolverMultistepScheduler", 'final_sigmas_type="sigma_min"'), "num_inference_steps=50"),
    ),
    (
        "UN118",
        SDXL,
        (swap("DDIMScheduler", "use_karras_sigmas=True"), ""),
        (swap("LMSDiscreteScheduler", "use_karras_sigmas=True"), ""),
    ),
    (
        "UN118",
        FLUX,
        (swap("FlowMatchEulerDiscreteScheduler", "flow_shift=3.0"), ""),
        (swap("FlowMatchEulerDiscreteScheduler", "shift=3.0"), ""),
    ),
    (
        "UN121",
        SD1,
        (swap("DDIMScheduler"), "num_inference_steps=15"),
        (swap("DDIMScheduler"), "num_inference_steps=50"),
    ),
    ("UN121", SDXL, (swap("DDPMScheduler"), "num_inference_steps=30"), ("", "num_inference_steps=30")),
    ("UN122", SDXL, ("", "num_inference_steps=4"), (LIGHTNING, "num_inference_steps=4")),
    ("UN122", SDXL, (LIGHTNING, "num_inference_steps=30"), (LIGHTNING, "num_inference_steps=8")),
    ("UN122", "stabilityai/sdxl-turbo", ("", "num_inference_steps=50"), ("", "num_inference_steps=1")),
    (
        "UN123",
        SDXL,
        (f"enable_full_determinism()\n{swap('EulerAncestralDiscreteScheduler')}", ""),
        (f"enable_full_determinism()\n{swap('EulerAncestralDiscreteScheduler')}", "generator=noise"),
    ),
]


@pytest.mark.parametrize(("rule", "model", "bad", "good"), SCRIPTS)
def test_scripts(tmp_path: Path, rule: str, model: str, bad: tuple[str, str], good: tuple[str, str]) -> None:
    assert found(rule, script(tmp_path / "bad.py", model, *bad))
    assert not found(rule, script(tmp_path / "good.py", model, *good))


def test_loader_of_single_files(tmp_path: Path) -> None:
    path = tmp_path / "make.py"
    text = "pipe = StableDiffusionPipeline.from_single_file('a.safetensors', prediction_type='epsilon'{})\npipe('a')\n"
    path.write_text(text.format(""))
    assert found("UN103", path)
    for more in (", original_config='v1.yaml'", f", scheduler=DDIMScheduler(**{STABLE})"):
        path.write_text(text.format(more))
        assert not found("UN103", path)


def workflow(path: Path, family: str = "sd_xl_base_1.0", extra: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a workflow as ComfyUI's server takes it."""
    inputs = {"steps": 25, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "normal", "denoise": 1.0, "seed": 1}
    wires = {"model": ["9" if extra else "4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}
    nodes: dict[str, Any] = {
        "3": {"class_type": "KSampler", "inputs": inputs | wires | changes},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"{family}.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}},
    }
    if extra:
        nodes["9"] = {"class_type": extra["class_type"], "inputs": {"model": ["4", 0], **extra["inputs"]}}
    path.write_text(json.dumps(nodes, indent=2))
    return path


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ("UN101", {"steps": 1000}, {"steps": 40}),
        (
            "UN106",
            {"family": "sdxl_lightning_4step", "steps": 4, "scheduler": "ddim_uniform"},
            {"family": "sdxl_lightning_4step", "steps": 4, "scheduler": "sgm_uniform"},
        ),
        ("UN114", {"steps": 150, "scheduler": "beta"}, {"steps": 100, "scheduler": "beta"}),
        ("UN114", {"steps": 12, "scheduler": "ddim_uniform"}, {"steps": 20, "scheduler": "ddim_uniform"}),
        (
            "UN114",
            {"steps": 60, "scheduler": "ddim_uniform"},
            {"steps": 60, "scheduler": "ddim_uniform", "denoise": 0.5},
        ),
        ("UN115", {"sampler_name": "euler_a"}, {"sampler_name": "euler_ancestral"}),
        ("UN115", {"sampler_name": "dpmpp_2n"}, {"sampler_name": "dpmpp_2m_sde"}),
        ("UN115", {"scheduler": "karas"}, {"scheduler": "karras"}),
        ("UN115", {"sampler_name": "DPM++ 2M"}, {"sampler_name": "res_2m"}),
        ("UN120", {"steps": 90, "sampler_name": "dpmpp_sde"}, {"steps": 90}),
        ("UN121", {"steps": 60, "sampler_name": "heun"}, {"steps": 25, "sampler_name": "heun"}),
        ("UN122", {"steps": 4}, {"steps": 20}),
        ("UN124", {"family": "flux1-dev", "scheduler": "exponential"}, {"family": "flux1-dev", "scheduler": "beta"}),
        ("UN124", {"family": "flux1-dev", "scheduler": "karras"}, {"scheduler": "karras"}),
    ],
)
def test_workflows(tmp_path: Path, rule: str, bad: dict[str, Any], good: dict[str, Any]) -> None:
    assert found(rule, workflow(tmp_path / "bad.json", **bad))
    assert not found(rule, workflow(tmp_path / "good.json", **good))


def test_shift_in_a_workflow(tmp_path: Path) -> None:
    flat = {"class_type": "ModelSamplingSD3", "inputs": {"shift": 1.15}}
    steep = {
        "class_type": "ModelSamplingFlux",
        "inputs": {"max_shift": 3.0, "base_shift": 0.5, "width": 1024, "height": 1024},
    }
    right = {"class_type": "ModelSamplingFlux", "inputs": {**steep["inputs"], "max_shift": 1.15}}  # type: ignore[dict-item]
    assert found("UN112", workflow(tmp_path / "a.json", "sd3.5_large", flat))
    assert found("UN112", workflow(tmp_path / "b.json", "flux1-dev", steep))
    assert not found("UN112", workflow(tmp_path / "c.json", "flux1-dev", right))


def picture(path: Path, model: str = "sd_xl_base_1.0", size: str = "1024x1024", **others: Any) -> Path:
    """Write what AUTOMATIC1111 writes."""
    numbers = {"Steps": 25, "Sampler": "DPM++ 2M", "CFG scale": 6, "Seed": 1, "Size": size, "Model": model} | others
    text = ", ".join(f"{key}: {value}" for key, value in numbers.items())
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a lighthouse\nNegative prompt: blurry\n{text}, Version: v1.10.1")
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ("UN101", {"Steps": 1000}, {"Steps": 150}),
        (
            "UN106",
            {"model": "sdxl_lightning_4step", "Steps": 4, "Sampler": "DDIM"},
            {"model": "sdxl_lightning_4step", "Steps": 4, "Sampler": "Euler"},
        ),
        ("UN115", {"Sampler": "DPM++ 2N"}, {"Sampler": "Euler EDM"}),
        ("UN117", {"model": "v1-5-pruned-emaonly", "CFG scale": 14}, {"model": "v1-5-pruned-emaonly", "CFG scale": 8}),
        ("UN118", {"Sampler": "DDIM", "Schedule type": "Karras"}, {"Sampler": "DDIM", "Schedule type": "Automatic"}),
        ("UN119", {"size": "1344x1344"}, {"size": "1344x768"}),
        ("UN120", {"Steps": 100, "Sampler": "Euler a"}, {"Steps": 100, "Sampler": "Euler"}),
        ("UN121", {"Steps": 12, "Sampler": "DDIM"}, {"Steps": 12, "Sampler": "UniPC"}),
        ("UN122", {"Steps": 50, "model": "sdxl_lightning_4step"}, {"Steps": 4, "model": "sdxl_lightning_4step"}),
    ],
)
def test_pictures(tmp_path: Path, rule: str, bad: dict[str, Any], good: dict[str, Any]) -> None:
    assert found(rule, picture(tmp_path / "bad.png", **bad))
    assert not found(rule, picture(tmp_path / "good.png", **good))
    unknown = found(rule, picture(tmp_path / "other.png", **bad | {"model": "my-own-model"}))
    assert bool(unknown) == (rule in ("UN115", "UN118"))  # these know the tool, the others need the family


@pytest.mark.parametrize("rule", ["UN102", "UN105", "UN109"])
def test_saved_folders(tmp_path: Path, rule: str) -> None:
    """A folder as diffusers saves it, then with one setting changed."""
    from transformers import logging as quiet

    quiet.set_verbosity_error()
    scheduler = diffusers.DDIMScheduler(**STABLE, clip_sample=False)
    unet = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768, "in_channels": 4, "sample_size": 64}
    scheduler.save_pretrained(tmp_path / "scheduler")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(unet))
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert not found(rule, tmp_path)
    changes = {
        "UN102": ("beta_start", 0.0001),
        "UN105": ("rescale_betas_zero_snr", True),
        "UN109": ("clip_samples", True),
    }
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict([changes[rule]])))
    assert found(rule, tmp_path)


def made(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(diffusers, name)()
    except (ImportError, TypeError, ValueError):
        return None  # it needs a package, or arguments


def test_no_finding_on_files_that_diffusers_saves(tmp_path: Path) -> None:
    saved = 0
    for name in CLASSES:
        scheduler = made(name)
        if scheduler is not None:
            scheduler.save_pretrained(tmp_path / name)
            for number in range(101, 125):
                assert not found(f"UN{number}", tmp_path / name / "scheduler_config.json"), name
            saved += 1
    assert saved > 35


def test_diffusers_takes_the_betas_of_the_old_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_file_utils, "SCHEDULER_DEFAULT_CONFIG", dict(single_file_utils.SCHEDULER_DEFAULT_CONFIG))
    load = single_file_utils._legacy_load_scheduler
    with pytest.warns(FutureWarning, match="prediction_type"):
        scheduler = load(diffusers.PNDMScheduler, {}, "scheduler", prediction_type="epsilon")
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.02, 0.085)
    assert scheduler.alphas_cumprod[100] == pytest.approx(0.104, abs=0.001)
    assert single_file_utils.SCHEDULER_DEFAULT_CONFIG["beta_start"] == 0.02  # and so for what is loaded next


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, in diffusers
def test_diffusers_drops_unknown_settings(caplog: pytest.LogCaptureFixture) -> None:
    config = diffusers.EulerDiscreteScheduler(**STABLE).config
    words = {"use_karas_sigmas": True, "use_karras_sigmas": True}
    plain = diffusers.EulerAncestralDiscreteScheduler.from_config(config)
    swallowed = diffusers.EulerAncestralDiscreteScheduler.from_config(config, **words)
    for one in (plain, swallowed):
        one.set_timesteps(20)
    assert (plain.sigmas == swallowed.sigmas).all()
    flagged = diffusers.KDPM2DiscreteScheduler.from_config(config, rescale_betas_zero_snr=True)
    assert "rescale_betas_zero_snr" not in flagged.config
    assert not caplog.records


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_diffusers_starts_leading_grids_in_the_middle() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**STABLE, timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps[0] == 751
    assert scheduler.sigmas[0] / levels()[999] == pytest.approx(0.28, abs=0.005)
    assert levels()[751] == pytest.approx(float(scheduler.sigmas[0]), rel=1e-3)


def test_diffusers_steps_of_ddim_are_shorter_than_linspace() -> None:
    scheduler = diffusers.DDIMScheduler(**STABLE, timestep_spacing="linspace")
    scheduler.set_timesteps(10)
    apart = int(scheduler.timesteps[0] - scheduler.timesteps[1])
    assert (apart, scheduler.config.num_train_timesteps // scheduler.num_inference_steps) == (111, 100)


@pytest.mark.parametrize(
    ("name", "start", "end", "level"),
    [("linear", 0.0001, 0.02, 157.4), ("linear", 0.00085, 0.012, 25.1), ("scaled_linear", 0.00085, 0.012, 14.6)],
)
def test_last_level_is_that_of_diffusers(name: str, start: float, end: float, level: float) -> None:
    kept = float(diffusers.DDPMScheduler(beta_schedule=name, beta_start=start, beta_end=end).alphas_cumprod[-1])
    assert last_level(name, start, end) == pytest.approx(math.sqrt((1 - kept) / kept), rel=1e-3)
    assert last_level(name, start, end) == pytest.approx(level, abs=0.05)


def test_grade_follows_the_number(tmp_path: Path) -> None:
    """DDPM is meant for a thousand steps; eight leading steps are worse than twelve."""
    call = "num_inference_steps={}"
    one = script(tmp_path / "a.py", SD1, swap("DDPMScheduler"), call.format(1000))
    assert [finding.grade for finding in found("UN101", one)] == [Severity.NOTE]
    grades = [found("UN106", script(tmp_path / "b.py", SDXL, "", call.format(steps)))[0].grade for steps in (8, 12)]
    assert grades == [Severity.WARN, Severity.NOTE]
    assert not found("UN106", script(tmp_path / "c.py", SDXL, "", call.format(13)))


def test_beta_spacing_takes_the_steps_that_scipy_gives() -> None:
    for steps in (139, 141, 150):
        shares = 1 - np.linspace(0, 1, steps, endpoint=False)
        times = np.rint(scipy.stats.beta.ppf(shares, 0.6, 0.6) * 999)
        assert _taken("beta", steps) == 1 + int((np.diff(times) != 0).sum()) < steps


def test_zero_snr_of_a_local_file(tmp_path: Path) -> None:
    """A file that states zero terminal SNR, under schedulers with and without it."""
    shapes = {name: shape for name, (_, shape) in SAMPLE_HEADERS["sd1", ""].items() if name.startswith(UNET)}
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(
        {name: torch.zeros(shape, dtype=torch.half) for name, shape in shapes.items()} | marks,
        tmp_path / "m.safetensors",
    )
    path, stable = tmp_path / "make.py", f"**{STABLE}, prediction_type='v_prediction'"
    text = "pipe = StableDiffusionPipeline.from_single_file('m.safetensors', scheduler={}({}))\npipe('a')\n"
    for class_, extra, expected in (
        ("DDIMScheduler", stable, True),
        ("HeunDiscreteScheduler", stable, True),
        ("DDIMScheduler", f"{stable}, rescale_betas_zero_snr=True", False),
    ):
        path.write_text(f"from diffusers import *\n{text.format(class_, extra)}")
        assert bool(found("UN104", path, tmp_path / "m.safetensors")) == expected
