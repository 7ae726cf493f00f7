"""Rules of guidance on files of real writers, and the faults that they describe in the installed diffusers."""

import json
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
from unnoise.check.rule import WARN, Finding

SD1, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
TURBO, LCM_LORA = "stabilityai/sdxl-turbo", "latent-consistency/lcm-lora-sdxl"
DEV, SCHNELL, FILL = (f"black-forest-labs/FLUX.1-{name}" for name in ("dev", "schnell", "Fill-dev"))


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def infotext(path: Path, numbers: str, negative: str = "blurry") -> Path:
    """Write what AUTOMATIC1111 and Forge write."""
    info = PngImagePlugin.PngInfo()
    last = f"Sampler: Euler, Schedule type: Simple, Seed: 1, {numbers}, Version: v1.10.1"
    info.add_text(
        "parameters", "\n".join(["a lighthouse", *([f"Negative prompt: {negative}"] if negative else []), last])
    )
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


PICTURES = [
    ("UN401", "Steps: 25, CFG scale: {w}, Size: 512x512, Model: v1-5-pruned-emaonly", "20", "7.5"),
    ("UN401", "Steps: 25, CFG scale: {w}, Size: 1024x1024, Model: sd_xl_base_1.0", "20", "5"),
    ("UN402", "Steps: 4, CFG scale: {w}, Size: 1024x1024, Model: sdxl_lightning_4step", "7", "1"),
    ("UN402", "Steps: 4, CFG scale: {w}, Size: 1024x1024, Model: flux1-schnell", "7", "1"),
    ("UN405", "Steps: 25, CFG scale: {w}, Size: 512x512, Model: v1-5-pruned-emaonly", "1", "7"),
    ("UN409", "Steps: 25, CFG scale: {w}, Size: 1024x1024, Model: sd_xl_base_1.0", "1", "5"),
]


@pytest.mark.parametrize(("rule", "numbers", "bad", "good"), PICTURES)
def test_pictures(tmp_path: Path, rule: str, numbers: str, bad: str, good: str) -> None:
    assert len(found(rule, infotext(tmp_path / "bad.png", numbers.format(w=bad)))) == 1
    assert not found(rule, infotext(tmp_path / "good.png", numbers.format(w=good)))


def test_flux_with_its_guidance_scale_in_the_wrong_place(tmp_path: Path) -> None:
    numbers = "Steps: 20, CFG scale: {}, Size: 1024x1024, Model: flux1-dev"
    assert found("UN404", infotext(tmp_path / "bad.png", numbers.format("3.5"), ""))
    assert not found("UN404", infotext(tmp_path / "good.png", numbers.format("1, Distilled CFG Scale: 3.5"), ""))


def invoke(path: Path, **changes: Any) -> Path:
    """Write what InvokeAI writes."""
    model = {"key": "a", "hash": "b", "name": "SDXL Base", "base": "sdxl", "type": "main"}
    content: dict[str, Any] = {
        "app_version": "5.6.0",
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a lighthouse",
    }
    content |= {"seed": 1, "negative_prompt": "", "width": 1024, "height": 1024, "steps": 30, "scheduler": "euler"}
    info = PngImagePlugin.PngInfo()
    info.add_text("invokeai_metadata", json.dumps(content | {"model": model} | changes))
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_invokeai(tmp_path: Path) -> None:
    assert found("UN401", invoke(tmp_path / "bad.png", cfg_scale=25.0))
    assert not found("UN401", invoke(tmp_path / "good.png", cfg_scale=6.0))
    assert found("UN405", invoke(tmp_path / "off.png", cfg_scale=1.0, negative_prompt="blurry"))


def workflow(checkpoint: str, weight: float, negative: str = "") -> str:
    wires = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["4", 0]}
    numbers = {"seed": 1, "steps": 20, "cfg": weight, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "3": ("KSampler", numbers | wires),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": checkpoint}),
        "5": ("EmptyLatentImage", {"width": 1024, "height": 1024, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a lighthouse", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": negative, "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "a"}),
    }
    return json.dumps({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()})


WORKFLOWS = [
    ("UN401", "sd_xl_base_1.0.safetensors", 30.0, 8.0),
    ("UN402", "sd_xl_turbo_1.0_fp16.safetensors", 8.0, 1.0),
    ("UN404", "flux1-dev-fp8.safetensors", 3.5, 1.0),
    ("UN409", "sd_xl_base_1.0.safetensors", 1.0, 8.0),
]


@pytest.mark.parametrize(("rule", "checkpoint", "bad", "good"), WORKFLOWS)
def test_workflows(tmp_path: Path, rule: str, checkpoint: str, bad: float, good: float) -> None:
    for weight, expected in ((bad, 1), (good, 0)):
        (tmp_path / "workflow.json").write_text(workflow(checkpoint, weight))
        assert len(found(rule, tmp_path / "workflow.json")) == expected


def script(path: Path, class_: str, model: str, call: str) -> Path:
    text = f"""
    import torch, diffusers
    pipe = diffusers.{class_}.from_pretrained("{model}", torch_dtype=torch.bfloat16)
    """
    path.write_text(dedent(text) + call)
    return path


LORA = f'pipe.load_lora_weights("{LCM_LORA}")\n'
V = "pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, rescale_betas_zero_snr=True)\n"
SCRIPTS = [
    ("UN401", "StableDiffusionPipeline", SD1, 'pipe("a", guidance_scale={})', "20.0", "7.5"),
    ("UN402", "AutoPipelineForText2Image", TURBO, 'pipe("a", num_inference_steps=1{})', "", ", guidance_scale=0.0"),
    ("UN402", "StableDiffusionXLPipeline", SDXL, LORA + 'pipe("a", guidance_scale={})', "7.5", "1.5"),
    ("UN402", "DiffusionPipeline", "SimianLuo/LCM_Dreamshaper_v7", LORA + 'pipe("a", true_cfg_scale={})', "9.0", "1.0"),
    ("UN403", "FluxPipeline", SCHNELL, 'pipe("a", guidance_scale={})', "3.5", "0.0"),
    ("UN405", "FluxPipeline", DEV, 'pipe("a", negative_prompt="b"{})', "", ", true_cfg_scale=3.0"),
    ("UN405", "StableDiffusionPipeline", SD1, 'pipe("a", negative_prompt="b", guidance_scale={})', "1.0", "5.0"),
    ("UN410", "StableDiffusionPipeline", SD1, V + 'pipe("a", guidance_scale=7.5{})', "", ", guidance_rescale=0.7"),
    ("UN411", "FluxPipeline", DEV, 'pipe("a", guidance_scale={})', "30.0", "3.5"),
    ("UN411", "FluxFillPipeline", FILL, 'pipe("a", guidance_scale={})', "70.0", "30.0"),
]


@pytest.mark.parametrize(("rule", "class_", "model", "call", "bad", "good"), SCRIPTS)
def test_scripts(tmp_path: Path, rule: str, class_: str, model: str, call: str, bad: str, good: str) -> None:
    assert len(found(rule, script(tmp_path / "bad.py", class_, model, call.format(bad)))) == 1
    assert not found(rule, script(tmp_path / "good.py", class_, model, call.format(good)))


def test_canny_adapter_widens_the_range_of_the_scale(tmp_path: Path) -> None:
    call = 'pipe.load_lora_weights("black-forest-labs/FLUX.1-Canny-dev-lora")\npipe("a", guidance_scale=30.0)'
    assert not found("UN411", script(tmp_path / "make.py", "FluxControlPipeline", DEV, call))


def test_negative_prompt_is_a_note_where_official_workflows_have_one(tmp_path: Path) -> None:
    [forgotten] = found("UN405", script(tmp_path / "a.py", "FluxPipeline", DEV, 'pipe("a", negative_prompt="b")'))
    [written] = found("UN405", infotext(tmp_path / "b.png", PICTURES[4][1].format(w="1")))
    (tmp_path / "c.json").write_text(workflow("sd_xl_turbo_1.0_fp16.safetensors", 1.0, "blurry"))
    [wired] = found("UN405", tmp_path / "c.json")
    assert forgotten.grade == written.grade == WARN > wired.grade


@pytest.mark.parametrize("package", ["from azula.guidance import CFGDenoiser", "from mine import CFGDenoiser"])
def test_other_convention(tmp_path: Path, package: str) -> None:
    (tmp_path / "make.py").write_text(f"{package}\nx0 = sampler(x1, positive=a, negative=b, guidance=7.5)\n")
    assert len(found("UN406", tmp_path / "make.py")) == ("azula" in package)


def flux(embeds: bool) -> Any:
    """A pipeline of Flux without text encoders, as small as it can be."""
    import diffusers

    diffusers.logging.set_verbosity_error()
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        torch.manual_seed(0)
        net = diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
            guidance_embeds=embeds,
        )  # fmt: skip
        parts = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
        pipe = diffusers.FluxPipeline(scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), transformer=net, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **words: Any) -> torch.Tensor:
    text = {"prompt_embeds": torch.ones(1, 4, 32), "pooled_prompt_embeds": torch.ones(1, 32)}
    made: torch.Tensor = pipe(
        **text, height=32, width=32, num_inference_steps=2, output_type="latent",
        generator=torch.Generator().manual_seed(0), **words,
    ).images  # fmt: skip
    return made


def test_diffusers_ignores_the_guidance_scale_of_schnell() -> None:
    for embeds, equal in ((False, True), (True, False)):
        pipe = flux(embeds)
        assert torch.equal(draw(pipe, guidance_scale=0.0), draw(pipe, guidance_scale=7.5)) is equal


def test_diffusers_drops_the_negative_prompt_of_flux() -> None:
    pipe = flux(True)
    negative = {"negative_prompt_embeds": -torch.ones(1, 4, 32), "negative_pooled_prompt_embeds": -torch.ones(1, 32)}
    assert torch.equal(draw(pipe), draw(pipe, **negative))
    assert not torch.equal(draw(pipe), draw(pipe, **negative, true_cfg_scale=4.0))
