"""Stable Diffusion 1 and 2 against diffusers' own pipelines on the same random weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from files.foreign import peers

import unnoise

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
    return [((1 - a) / a) ** 0.5 for a in every]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_equals_the_peer(tmp_path: Path, prediction: str) -> None:
    peer = pipe(tmp_path, prediction)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    pictures = peer(**HOW, num_inference_steps=STEPS, latents=noise).images
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    found = ours.generate(
        peers.PROMPT, negative=peers.NEGATIVE, weight=7.5, sampler="ddim", grid=levels(peer), noise=noise, size=SIZE
    )
    peers.assert_close(found[0].x0[None], latents)
    peers.assert_same_pictures([found[0].image], pictures)


@pytest.mark.parametrize(
    ("peer_class", "sampler"), [(EulerDiscreteScheduler, "euler"), (DPMSolverMultistepScheduler, "dpmpp-2m")]
)
def test_solvers_equal_the_peer(tmp_path: Path, peer_class: Any, sampler: str) -> None:
    peer = pipe(tmp_path)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    peer.scheduler = peer_class.from_config(peer.scheduler.config)
    peer.scheduler.set_timesteps(STEPS)
    grid = [float(sigma) for sigma in peer.scheduler.sigmas]
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    latents = peer(**HOW, num_inference_steps=STEPS, latents=noise, output_type="latent").images
    # Euler's x is x0 + sigma*eps, and diffusers begins it with sigma*eps alone.
    begun = float(peer.scheduler.init_noise_sigma)
    start = noise * begun / (1 + grid[0] ** 2) ** 0.5 if begun != 1 else noise
    found = ours.generate(
        peers.PROMPT, negative=peers.NEGATIVE, weight=7.5, sampler=sampler, grid=grid, noise=start, size=SIZE
    )
    peers.assert_close(found[0].x0[None], latents)
