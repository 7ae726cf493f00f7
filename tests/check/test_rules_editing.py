"""Rules of editing on real scripts, workflows and masks, and their faults in the installed diffusers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFilter

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script
from unnoise.check.references import load_subjects
from unnoise.check.rule import ERROR, Finding
from unnoise.check.rules.editing._shared import steps_left

INPAINT = "stable-diffusion-v1-5/stable-diffusion-inpainting"
XL = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"


def found(rule: str, path: Path) -> list[Finding]:
    return [finding for subject in load_subjects([path]) for finding in run_rule(entry(rule), subject)]


def make(tmp_path: Path, class_: str, model: str, call: str) -> Path:
    path = tmp_path / "make.py"
    path.write_text(
        f"from diffusers import {class_}\nfrom diffusers.utils import load_image\nfrom PIL import ImageFilter\n"
        f'pipe = {class_}.from_pretrained("{model}")\nphoto, mask = load_image("photo.png"), load_image("mask.png")\n'
        f'image = pipe("a stormy sky", image=photo, {call}).images[0]\n'
    )
    return path


IMAGE = "StableDiffusionImg2ImgPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5"
PAINT = "StableDiffusionInpaintPipeline", INPAINT
SCRIPTS = [
    ("UN701", *IMAGE, "num_inference_steps=4, strength=0.2", "num_inference_steps=20, strength=0.2"),
    ("UN701", *IMAGE, "num_inference_steps=15, strength=0.05", "strength=0.1"),
    ("UN701", "FluxImg2ImgPipeline", "black-forest-labs/FLUX.1-dev", "num_inference_steps=10, strength=0.05",
     "num_inference_steps=10, strength=0.35"),
    ("UN701", "AutoPipelineForImage2Image", "stabilityai/sdxl-turbo", "num_inference_steps=2, strength=0.4",
     "num_inference_steps=2, strength=0.5"),
    ("UN703", *PAINT, "mask_image=mask", "mask_image=mask, padding_mask_crop=16"),
    ("UN704", *PAINT, "mask_image=pipe.mask_processor.blur(mask, blur_factor=33)", "mask_image=mask"),
    ("UN704", *PAINT, "mask_image=mask.filter(ImageFilter.GaussianBlur(8))", "mask_image=mask"),
    ("UN707", "StableDiffusionXLInpaintPipeline", XL, "mask_image=mask, strength=1.0",
     "mask_image=mask, strength=0.99"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "class_", "model", "bad", "good"), SCRIPTS)
def test_in_a_script(tmp_path: Path, rule: str, class_: str, model: str, bad: str, good: str) -> None:
    assert len(found(rule, make(tmp_path, class_, model, bad))) == 1
    assert not found(rule, make(tmp_path, class_, model, good))


MODELS = [
    ("UN708", "StableDiffusionInpaintPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5", INPAINT),
    ("UN708", "AutoPipelineForInpainting", "stabilityai/stable-diffusion-xl-base-1.0", XL),
    ("UN709", "StableDiffusionImg2ImgPipeline", INPAINT, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("UN709", "StableDiffusionPipeline", "timbrooks/instruct-pix2pix", "stabilityai/stable-diffusion-2-1"),
    ("UN709", "FluxPipeline", "black-forest-labs/FLUX.1-Fill-dev", "black-forest-labs/FLUX.1-dev"),
]


@pytest.mark.parametrize(("rule", "class_", "bad", "good"), MODELS)
def test_of_a_model(tmp_path: Path, rule: str, class_: str, bad: str, good: str) -> None:
    assert len(found(rule, make(tmp_path, class_, bad, "mask_image=mask"))) == 1
    assert not found(rule, make(tmp_path, class_, good, "mask_image=mask"))


def disc(size: tuple[int, int] = (512, 512)) -> Image.Image:
    image = Image.new("L", size, 0)
    ImageDraw.Draw(image).ellipse((100, 100, 300, 300), fill=255)
    return image


def line(width: int, at: int = 203) -> Image.Image:
    image = Image.new("L", (512, 512), 0)
    ImageDraw.Draw(image).rectangle((at, 40, at + width - 1, 460), fill=255)
    return image


MASKS = [
    ("UN704", disc().filter(ImageFilter.GaussianBlur(30)), disc()),
    ("UN706", line(1), line(17)),
    ("UN710", disc((512, 768)), disc((1024, 1024))),
    ("UN711", disc().point(lambda value: value // 255), disc()),
    ("UN711", Image.new("L", (512, 512), 255), disc()),
]


@pytest.mark.parametrize(("rule", "bad", "good"), MASKS)
def test_of_a_mask(tmp_path: Path, rule: str, bad: Image.Image, good: Image.Image) -> None:
    Image.new("RGB", (512, 512), "teal").save(tmp_path / "photo.png")
    path = make(tmp_path, *PAINT, "mask_image=mask, padding_mask_crop=16")
    for mask, expected in ((bad, 1), (good, 0)):
        mask.save(tmp_path / "mask.png")
        assert len(found(rule, path)) == expected


def test_a_mask_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    line(1).save(tmp_path / "mask.png")
    [finding] = found("UN706", make(tmp_path, *PAINT, "mask_image=mask"))
    assert finding.grade == ERROR
    assert "53 of 53" in finding.measured


def mflux(tmp_path: Path, strength: float) -> Path:
    path = tmp_path / "make.py"
    path.write_text(
        f'from mflux import Config, Flux1\nflux = Flux1.from_name("dev")\nflux.generate_image(seed=1, prompt="a", '
        f'config=Config(num_inference_steps=20, image_path="a.png", image_strength={strength}))\n'
    )
    return path


@pytest.mark.parametrize(("strength", "expected"), [(0.8, 1), (1.0, 1), (0.4, 0)])
def test_strength_of_mflux(tmp_path: Path, strength: float, expected: int) -> None:
    assert len(found("UN702", mflux(tmp_path, strength))) == expected


def test_legacy_pipeline(tmp_path: Path) -> None:
    for class_, expected in (("StableDiffusionInpaintPipelineLegacy", 1), ("StableDiffusionInpaintPipeline", 0)):
        path = make(tmp_path, class_, "stable-diffusion-v1-5/stable-diffusion-v1-5", "mask_image=mask")
        assert len(found("UN712", path)) == expected


def workflow(tmp_path: Path, denoise: float = 1.0, inpaint: bool = False, **more: Any) -> Path:
    latent = ["11", 0] if inpaint else ["5", 0]
    wires = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": latent}
    numbers = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": denoise}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "3": ("KSampler", numbers | wires),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "512-inpainting-ema.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 512, "height": 512, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a lighthouse", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "a"}),
        "10": ("LoadImageMask", {"image": "mask.png", "channel": "red"}),
        "11": ("VAEEncodeForInpaint", {"pixels": ["12", 0], "vae": ["4", 2], "mask": ["10", 0], "grow_mask_by": 6}),
        "12": ("LoadImage", {"image": "photo.png"}),
    }
    content = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in (nodes | more).items()}
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(content))
    return path


PASTED = ("ImageCompositeMasked", {"destination": ["12", 0], "source": ["8", 0], "mask": ["10", 0], "x": 0, "y": 0})


def test_in_a_workflow(tmp_path: Path) -> None:
    assert found("UN701", workflow(tmp_path, denoise=0.0))
    assert not found("UN701", workflow(tmp_path, denoise=0.3))
    assert found("UN713", workflow(tmp_path, denoise=0.6))
    assert not found("UN713", workflow(tmp_path, denoise=0.6, inpaint=True))
    assert found("UN703", workflow(tmp_path, inpaint=True))
    assert not found("UN703", workflow(tmp_path, inpaint=True, paste=PASTED))
    for mask, expected in ((disc().filter(ImageFilter.GaussianBlur(9)), 1), (disc(), 0)):
        mask.save(tmp_path / "mask.png")
        assert len(found("UN705", workflow(tmp_path, inpaint=True))) == expected


COUNTED = ["StableDiffusionImg2ImgPipeline", "StableDiffusionXLInpaintPipeline", "FluxImg2ImgPipeline",
           "StableDiffusion3Img2ImgPipeline", "ZImageImg2ImgPipeline"]  # fmt: skip


@pytest.mark.parametrize("class_", COUNTED)
def test_steps_are_counted_as_diffusers_counts_them(class_: str) -> None:
    import diffusers

    counted = getattr(diffusers, class_).get_timesteps
    subject = script(f'from diffusers import {class_}\npipe = {class_}.from_pretrained("a")\npipe("b", strength=0.5)\n')
    for steps in (1, 2, 4, 15, 20, 33, 50):
        scheduler = SimpleNamespace(timesteps=list(range(steps)), order=1, set_begin_index=lambda at: None)
        for hundredths in range(1, 101):
            pipe = SimpleNamespace(scheduler=scheduler)
            arguments = (None, None) if class_.startswith("StableDiffusionXL") else (None,)
            times, _ = counted(pipe, steps, hundredths / 100, *arguments)
            assert steps_left(subject.runs[0], steps, hundredths / 100) == len(times)


def test_diffusers_rounds_a_blurred_mask() -> None:
    from diffusers.image_processor import VaeImageProcessor

    processor = VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    hard = processor.preprocess(disc())
    soft = processor.preprocess(processor.blur(disc(), blur_factor=20))
    assert set(soft.unique().tolist()) == {0.0, 1.0}
    assert (soft != hard).float().mean().item() < 0.01


def test_a_line_of_one_pixel_vanishes_in_seven_of_eight_places() -> None:
    import torch

    lost = 0
    for at in range(200, 208):
        mask = torch.zeros(1, 1, 512, 512)
        mask[..., at] = 1
        lost += not torch.nn.functional.interpolate(mask, size=(64, 64)).any()
    assert lost == 7


def tiny(class_: str, channels: int, schedule: str) -> Any:
    """Make a pipeline of random weights without a text encoder."""
    import diffusers
    import torch

    torch.manual_seed(0)
    diffusers.utils.logging.set_verbosity_error()
    kinds = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    unet = diffusers.UNet2DConditionModel(
        in_channels=channels, block_out_channels=(8,), layers_per_block=1, cross_attention_dim=8, attention_head_dim=2,
        norm_num_groups=2, sample_size=64, **kinds,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=2)
    made = getattr(diffusers, class_)(
        vae=vae, unet=unet, scheduler=getattr(diffusers, schedule)(steps_offset=1, clip_sample=False),
        text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return lambda **more: made(
        prompt_embeds=torch.zeros(1, 3, 8), negative_prompt_embeds=torch.zeros(1, 3, 8), output_type="latent", **more
    )


def test_diffusers_returns_no_image_without_steps() -> None:
    photo = {"image": disc((64, 64)).convert("RGB"), "num_inference_steps": 20}
    pipe = tiny("StableDiffusionImg2ImgPipeline", 4, "DDIMScheduler")
    assert len(pipe(**photo, strength=0.05).images) == 1
    assert len(pipe(**photo, strength=0.04).images) == 0


def test_diffusers_fails_with_an_inpainting_network_that_gets_no_mask() -> None:
    with pytest.raises(RuntimeError, match=r"size of tensor|channels"):
        tiny("StableDiffusionPipeline", 9, "DDIMScheduler")(num_inference_steps=2, height=64, width=64)
