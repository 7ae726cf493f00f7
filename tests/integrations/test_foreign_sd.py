"""Stable Diffusion 1 and 2 against diffusers' own pipelines on the same random weights, noise and levels."""

from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as img2img
from PIL import Image
from torch import Tensor

import unnoise
from integrations import peers
from unnoise.errors import InputError
from unnoise.generation.images import image_tensor
from unnoise.integrations.diffusers.classes import empty

STEPS, SIZE = 5, 64
HOW = {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "height": SIZE, "width": SIZE}


def unet(**more: Any) -> UNet2DConditionModel:
    torch.manual_seed(1)
    made = UNet2DConditionModel(
        **{
            "block_out_channels": (32, 64), "layers_per_block": 1, "sample_size": 8, "in_channels": 4,
            "out_channels": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "norm_num_groups": 8,
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, "attention_head_dim": 8,
            **more,
        }
    )  # fmt: skip
    return peers.spread(made)


def vae() -> AutoencoderKL:
    torch.manual_seed(2)
    made = AutoencoderKL(
        block_out_channels=[16, 16, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=8,
    )
    return peers.spread(made)


def pipe(folder: Path, prediction: str = "epsilon", **more: Any) -> StableDiffusionPipeline:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type=prediction,
    )  # fmt: skip
    made = StableDiffusionPipeline(
        vae=vae(), text_encoder=peers.clip_text(), tokenizer=peers.clip_tokenizer(folder / "words"), unet=unet(**more),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def levels(pipe: StableDiffusionPipeline) -> list[float]:
    """Give sigma at the times that the pipeline's DDIM asks, and where it ends."""
    table = pipe.scheduler.alphas_cumprod.double()
    asked = pipe.scheduler.timesteps
    every = [*table[asked].tolist(), float(pipe.scheduler.final_alpha_cumprod)]
    return [((1 - a) / a) ** 0.5 if a else inf for a in every]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_equals_diffusers(tmp_path: Path, prediction: str) -> None:
    peer = pipe(tmp_path, prediction)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    pictures = peer(**HOW, num_inference_steps=STEPS, latents=noise).images
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="ddim",
        schedule=levels(peer),
        noise=noise,
        size=SIZE,
    )
    peers.assert_close(found[0].x0[None], latents)
    peers.assert_same_images([found[0].image], pictures)


def test_the_tokenizers_own_length_equals_diffusers(tmp_path: Path) -> None:
    peer = pipe(tmp_path)
    peer.tokenizer.model_max_length = 24
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    how = {"negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "sampler": "ddim", "noise": noise, "size": SIZE}
    peers.assert_close(ours.generate(peers.PROMPT, schedule=levels(peer), **how)[0].x0[None], latents)


PEERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpmpp-2m": DPMSolverMultistepScheduler}


def same_steps(peer: Any, sampler: str, noise: Tensor) -> tuple[list[float], Tensor]:
    """Let the peer step as a sampler of ours does; give its levels, and where x of the unit frame begins."""
    peer.scheduler = PEERS[sampler].from_config(peer.scheduler.config)
    peer.scheduler.set_timesteps(STEPS)
    if sampler == "ddim":
        return levels(peer), noise
    grid = [float(sigma) for sigma in peer.scheduler.sigmas]
    # Euler's x is x0 + sigma*eps, and diffusers begins it with sigma*eps alone.
    begun = float(peer.scheduler.init_noise_sigma)
    return grid, noise * begun / (1 + grid[0] ** 2) ** 0.5 if begun != 1 else noise


@pytest.mark.parametrize("sampler", ["euler", "dpmpp-2m"])
def test_solvers_equal_diffusers(tmp_path: Path, sampler: str) -> None:
    peer = pipe(tmp_path)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    grid, start = same_steps(peer, sampler, noise)
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler=sampler,
        schedule=grid,
        noise=start,
        size=SIZE,
    )
    peers.assert_close(found[0].x0[None], latents)


SECOND = {"cross_attention_dim": 32, "attention_head_dim": (2, 4), "use_linear_projection": True}


def second(folder: Path, prediction: str, **how: Any) -> StableDiffusionPipeline:
    """Make a pipeline in the manner of Stable Diffusion 2: other heads, other text, other padding."""
    made = pipe(folder, prediction, **SECOND)
    made.text_encoder = peers.clip_text(hidden_act="gelu")
    made.tokenizer = peers.clip_tokenizer(folder / "second", pad="!")
    made.scheduler = DDIMScheduler.from_config(made.scheduler.config, **how)
    return made


@pytest.mark.parametrize(
    ("prediction", "how"),
    [
        ("epsilon", {}),
        ("v_prediction", {}),
        ("v_prediction", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ],
)
def test_the_second_generation_equals_diffusers(tmp_path: Path, prediction: str, how: dict[str, Any]) -> None:
    peer = second(tmp_path, prediction, **how)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    grid = levels(peer)
    assert (grid[0] == inf) == bool(how)
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="ddim",
        schedule=grid,
        noise=noise,
        size=SIZE,
    )
    peers.assert_close(found[0].x0[None], latents)


def test_the_tiny_autoencoder_equals_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(4)
    peer = pipe(tmp_path)
    peer.vae = peers.spread(
        AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8), scaling_factor=1.0
        )
    )
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    pictures = peer(**HOW, num_inference_steps=STEPS, latents=noise).images
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    how: dict[str, Any] = {
        "guidance_scale": 7.5,
        "sampler": "ddim",
        "noise": noise,
        "size": SIZE,
        "negative_prompt": peers.NEGATIVE,
    }
    found = ours.generate(peers.PROMPT, schedule=levels(peer), **how)
    peers.assert_same_images([found[0].image], pictures)
    with torch.no_grad():
        code = peer.vae.encode(image_tensor(pictures[0])).latents
        peers.assert_close(ours.space.encode(image_tensor(pictures[0])), code)


def test_a_changed_picture_equals_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = StableDiffusionImg2ImgPipeline(**pipe(tmp_path).components, requires_safety_checker=False)
    peer.set_progress_bar_config(disable=True)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    monkeypatch.setattr(img2img, "randn_tensor", lambda shape, **_: noise)
    picture = Image.effect_noise((SIZE, SIZE), 90).convert("RGB")
    asked = {key: value for key, value in HOW.items() if key not in ("height", "width")}
    latents = peer(**asked, image=picture, strength=0.6, num_inference_steps=STEPS, output_type="latent").images
    grid = levels(peer)[2:]
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="ddim",
        schedule=grid,
        noise=noise,
        image=picture,
    )
    peers.assert_close(found[0].x0[None], latents)


@pytest.mark.parametrize("channels", [5, 7])
def test_another_image_input_is_refused(tmp_path: Path, channels: int) -> None:
    made = pipe(tmp_path, in_channels=channels)
    with pytest.raises(InputError, match=f"unet of {channels} channels; 4, 8, 9 are supported"):
        unnoise.load(peers.saved(made, tmp_path / "model"))


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"cross_attention_dim": 768, "attention_head_dim": 8}, 859_520_964),
        ({"cross_attention_dim": 768, "attention_head_dim": 8, "in_channels": 8}, 859_532_484),
        ({"cross_attention_dim": 768, "attention_head_dim": 8, "in_channels": 9}, 859_535_364),
        ({"cross_attention_dim": 768, "attention_head_dim": 8, "time_cond_proj_dim": 256}, 859_602_884),
        (
            {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
            865_910_724,
        ),
    ],
)
def test_published_sizes(config: dict[str, Any], count: int) -> None:
    """Source: the U-Nets of v1-5, instruct-pix2pix, sd-v1-5-inpainting, LCM_Dreamshaper_v7 and v2-1."""
    made = empty("UNet2DConditionModel", {"sample_size": 64, **config}, "here")
    assert sum(parameter.numel() for parameter in made.parameters()) == count
