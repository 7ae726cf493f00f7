"""Rules of the space on files that real writers made, and the faults that they speak of in the installed diffusers."""

import json
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import Finding

NEGATIVE = "Negative prompt: blurry"
NUMBERS = "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: {size}, Model: {model}"


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def picture(path: Path, size: str, model: str) -> Path:
    """Write what AUTOMATIC1111 writes."""
    info = PngImagePlugin.PngInfo()
    numbers = NUMBERS.format(size=size, model=model)
    info.add_text("parameters", f"a lighthouse\n{NEGATIVE}\n{numbers}, Version: v1.10.1")
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


SIZES = [
    ("UN306", "v1-5-pruned-emaonly", "1024x1024", "512x768"),
    ("UN306", "sd_xl_base_1.0", "512x512", "1024x576"),
    ("UN306", "flux1-dev", "256x256", "1024x1024"),
    ("UN307", "sd_xl_base_1.0", "1001x1024", "1000x1024"),
    ("UN309", "v1-5-pruned-emaonly", "64x64", "512x512"),
    ("UN309", "sd_xl_base_1.0", "128x128", "1024x1024"),
    ("UN311", "sd_xl_base_1.0", "2560x512", "2048x512"),
]


@pytest.mark.parametrize(("rule", "model", "bad", "good"), SIZES)
def test_sizes_in_a_picture(tmp_path: Path, rule: str, model: str, bad: str, good: str) -> None:
    assert found(rule, picture(tmp_path / "bad.png", bad, model))
    assert not found(rule, picture(tmp_path / "good.png", good, model))


@pytest.mark.parametrize("rule", ["UN306", "UN307", "UN309", "UN311"])
def test_nothing_is_said_of_an_unknown_family_or_size(tmp_path: Path, rule: str) -> None:
    assert not found(rule, picture(tmp_path / "one.png", "64x4096", "my-own-model"))
    assert not found(rule, picture(tmp_path / "two.png", "none", "sd_xl_base_1.0"))


def script(path: Path, text: str, model: str, **words: str) -> Path:
    head = f"""
    import torch
    import diffusers
    pipe = diffusers.DiffusionPipeline.from_pretrained("{model}", torch_dtype=torch.float16)
    vae, scheduler = pipe.vae, pipe.scheduler
    """
    path.write_text(dedent(head) + dedent(text).format(**words))
    return path


SD1, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
SD3, WAN, LTX = (
    "stabilityai/stable-diffusion-3-medium-diffusers",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "Lightricks/LTX-Video",
)
FLUX = "black-forest-labs/FLUX.1-dev"
LOOP = """
latents = torch.randn((1, 4, 64, 64))
for t in scheduler.timesteps:
    noise = pipe.unet(latents, t).sample
    latents = scheduler.step(noise, t, latents).prev_sample
{scale}
image = vae.decode(latents).sample
"""
ENCODE = "z = vae.encode(pixels).latent_dist.{how}\nnoisy = noise_scheduler.add_noise({given}, noise, t)\n"
LATENT = 'latents = pipe("a", output_type="latent").images\nimage = pipe.vae.decode({latents}).sample\n'
SCRIPTS = [
    ("UN301", SDXL, LOOP, {"scale": "latents = 1 / 0.18215 * latents"}, {"scale": "latents = 1 / 0.13025 * latents"}),
    ("UN301", SD1, LOOP, {"scale": "latents /= 0.13025"}, {"scale": "latents /= 0.18215"}),
    ("UN302", SD3, LATENT, {"latents": "latents / pipe.vae.config.scaling_factor"},
     {"latents": "latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor"}),
    ("UN303", SD1, LOOP, {"scale": "pass"}, {"scale": "latents = 1 / 0.18215 * latents"}),
    ("UN303", SDXL, LOOP, {"scale": "if wide:\n    pass"},
     {"scale": "if wide:\n    latents = latents / vae.config.scaling_factor"}),
    ("UN303", SD1, ENCODE, {"how": "sample()", "given": "z"},
     {"how": "sample()", "given": "z * vae.config.scaling_factor"}),
    ("UN303", SD1, ENCODE, {"how": "mode().to('cuda')", "given": "z"},
     {"how": "mode() * 0.18215", "given": "z.to('cuda')"}),
    ("UN303", SD1, ENCODE, {"how": "sample() * 0.18215", "given": "z * vae.config.scaling_factor"},
     {"how": "sample() * 0.18215", "given": "z"}),
    ("UN304", SDXL, LATENT, {"latents": "latents / 0.13025"}, {"latents": "latents.to(torch.float32) / 0.13025"}),
    ("UN307", SD1, 'pipe("a", width={side}, height=512)', {"side": "500"}, {"side": "504"}),
    ("UN307", FLUX, 'pipe("a", width={side}, height=512)', {"side": "1000"}, {"side": "992"}),
    ("UN308", WAN, 'pipe("a", num_frames={n})', {"n": "80"}, {"n": "81"}),
    ("UN308", LTX, 'pipe("a", num_frames={n})', {"n": "160"}, {"n": "161"}),
    ("UN309", SD1, 'latents = torch.randn((1, 4, {n}, {n}))\npipe("a", latents=latents)', {"n": "512"}, {"n": "64"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "model", "text", "bad", "good"), SCRIPTS)
def test_scripts(tmp_path: Path, rule: str, model: str, text: str, bad: dict[str, str], good: dict[str, str]) -> None:
    assert len(found(rule, script(tmp_path / "bad.py", text, model, **bad))) == 1
    assert not found(rule, script(tmp_path / "good.py", text, model, **good))


SILENT = [
    "x = vae.decode(vae.encode(pixels).latent_dist.mode()).sample\n",  # only the autoencoder
    "vae = diffusers.AutoencoderTiny.from_pretrained('madebyollin/taesd')\n"
    "z = vae.encode(pixels).latents\nnoisy = scheduler.add_noise(z, noise, t)\n",
    "z = (vae.encode(pixels).latent_dist.sample() - mean) / std\nnoisy = scheduler.add_noise(z, noise, t)\n",
    "z = prepare(vae.encode(pixels).latent_dist.sample())\nnoisy = scheduler.add_noise(z, noise, t)\n",
    "def decode(latents):\n    return vae.decode(latents).sample\n",
]


@pytest.mark.parametrize("text", SILENT)
def test_nothing_is_said_of_latents_that_are_not_followed(tmp_path: Path, text: str) -> None:
    path = script(tmp_path / "make.py", text.replace("{", "{{"), SD1)
    assert not [finding for rule in ("UN301", "UN302", "UN303") for finding in found(rule, path)]


def workflow(vae: str) -> dict[str, Any]:
    wires = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["4", 0]}
    numbers = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "3": ("KSampler", numbers | wires),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "sd_xl_base_1.0.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 1024, "height": 1024, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a lighthouse", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["10", 0]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "a"}),
        "10": ("VAELoader", {"vae_name": vae}),
    }
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


@pytest.mark.parametrize(
    ("vae", "expected"),
    [("vae-ft-mse-840000-ema-pruned.safetensors", 1), ("sdxl_vae.safetensors", 0), ("unheard-of.safetensors", 0)],
)
def test_vae_in_a_workflow(tmp_path: Path, vae: str, expected: int) -> None:
    (tmp_path / "workflow.json").write_text(json.dumps(workflow(vae)))
    assert len(found("UN305", tmp_path / "workflow.json")) == expected


def autoencoder(**settings: Any) -> Any:
    from diffusers import AutoencoderKL

    blocks: dict[str, Any] = {"block_out_channels": (4,) * 4, "norm_num_groups": 1, "layers_per_block": 1}
    return AutoencoderKL(
        latent_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **blocks,
        **settings,
    )


def saved(path: Path, class_: str, **settings: Any) -> Path:
    """Save a pipeline of which there is no more than the autoencoder, as diffusers saves it."""
    import diffusers

    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    parts: dict[str, Any] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    parts |= {"unet": None} if "XL" in class_ else {"transformer": None}
    with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        scheduler = (
            diffusers.EulerDiscreteScheduler() if "XL" in class_ else diffusers.FlowMatchEulerDiscreteScheduler()
        )
        made = getattr(diffusers, class_)(vae=autoencoder(**settings), scheduler=scheduler, **parts)
        made.save_pretrained(path)
    return path


FOLDERS = [
    ("UN301", "StableDiffusionXLPipeline", {}, {"scaling_factor": 0.13025}),
    ("UN302", "FluxPipeline", {"scaling_factor": 0.3611}, {"scaling_factor": 0.3611, "shift_factor": 0.1159}),
]


@pytest.mark.parametrize(("rule", "class_", "bad", "good"), FOLDERS)
def test_folders_that_diffusers_saved(
    tmp_path: Path, rule: str, class_: str, bad: dict[str, Any], good: dict[str, Any]
) -> None:
    assert len(found(rule, saved(tmp_path / "bad", class_, **bad))) == 1
    assert not found(rule, saved(tmp_path / "good", class_, **good))


def test_diffusers_takes_another_scale_where_none_is_written() -> None:
    from diffusers import AutoencoderKL

    made = AutoencoderKL.from_config({"latent_channels": 4, "block_out_channels": (4,), "norm_num_groups": 1})
    assert made.config.scaling_factor == 0.18215


def test_diffusers_cuts_the_sides_of_flux() -> None:
    from diffusers import FluxPipeline

    parts = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "scheduler"))
    pipe = FluxPipeline(vae=autoencoder(), **parts)
    latents, _ = pipe.prepare_latents(1, 1, 1000, 1000, torch.float32, "cpu", torch.Generator())
    assert latents.shape[1] == (992 // 16) ** 2


def test_a_cut_side_says_what_it_becomes(tmp_path: Path) -> None:
    [finding] = found("UN307", script(tmp_path / "make.py", 'pipe("a", width=1000, height=512)', FLUX))
    assert finding.suggestion == "write 992"
