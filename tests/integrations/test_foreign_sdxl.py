"""Stable Diffusion XL, base and refiner, against diffusers' own pipelines on the same weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)

import unnoise
from integrations import peers, test_foreign_sd
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty

STEPS, SIZE = 5, 64
HOW = {"prompt": peers.PROMPT, "guidance_scale": 7.5, "num_inference_steps": STEPS}


def unet(refiner: bool = False, **more: Any) -> Any:
    sized = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "transformer_layers_per_block": (1, 2)}
    sized |= {"cross_attention_dim": 32 if refiner else 64, "attention_head_dim": (2, 4), "use_linear_projection": True}
    sized |= {"projection_class_embeddings_input_dim": 32 + (5 if refiner else 6) * 8}
    return test_foreign_sd.unet(**sized, **more)


def pipe(folder: Path, refiner: bool = False, prediction: str = "epsilon", **more: Any) -> Any:
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, prediction_type=prediction,
        timestep_spacing="leading",
    )  # fmt: skip
    words = {"tokenizer": peers.clip_tokenizer(folder / "a"), "tokenizer_2": peers.clip_tokenizer(folder / "b", "!")}
    texts = {"text_encoder": peers.clip_text(0), "text_encoder_2": peers.clip_text(1, projected=True)}
    if refiner:
        words["tokenizer"] = texts["text_encoder"] = None
        more["requires_aesthetics_score"] = True
    made = (StableDiffusionXLImg2ImgPipeline if refiner else StableDiffusionXLPipeline)(
        vae=test_foreign_sd.vae(), unet=unet(refiner), scheduler=scheduler, **words, **texts, **more
    )
    made.set_progress_bar_config(disable=True)
    return made


def start() -> torch.Tensor:
    return torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("peer_class", "sampler"), [(EulerDiscreteScheduler, "euler"), (DPMSolverMultistepScheduler, "dpmpp-2m")]
)
def test_base_equals_diffusers(tmp_path: Path, peer_class: Any, sampler: str, prediction: str) -> None:
    peer = pipe(tmp_path, prediction=prediction)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    peer.scheduler = peer_class.from_config(peer.scheduler.config)
    peer.scheduler.set_timesteps(STEPS)
    grid, noise = [float(sigma) for sigma in peer.scheduler.sigmas], start()
    how = {**HOW, "negative_prompt": peers.NEGATIVE, "height": SIZE, "width": SIZE, "latents": noise}
    latents, pictures = peer(**how, output_type="latent").images, peer(**how).images
    begun = float(peer.scheduler.init_noise_sigma)
    first = noise * begun / (1 + grid[0] ** 2) ** 0.5 if begun != 1 else noise
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler=sampler,
        schedule=grid,
        noise=first,
        size=SIZE,
    )[0]
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)


@pytest.mark.parametrize("zeros", [True, False])
def test_no_negative_prompt_is_as_the_folder_says(tmp_path: Path, zeros: bool) -> None:
    peer = pipe(tmp_path, force_zeros_for_empty_prompt=zeros)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    peer.scheduler = DDIMScheduler.from_config(peer.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    noise = start()
    latents = peer(**HOW, height=SIZE, width=SIZE, latents=noise, output_type="latent").images
    found = ours.generate(
        peers.PROMPT, guidance_scale=7.5, sampler="ddim", schedule=test_foreign_sd.levels(peer), noise=noise, size=SIZE
    )[0]
    peers.assert_close(found.x0[None], latents)


def test_the_refiner_equals_diffusers(tmp_path: Path) -> None:
    peer = pipe(tmp_path, refiner=True)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    assert ours.card.variant == "refiner"
    peer.scheduler = DDIMScheduler.from_config(peer.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    # Strength 1 of diffusers keeps no trace of the picture at the first level but its mean; hand it the noise itself.
    noise = start()
    how = {**HOW, "negative_prompt": peers.NEGATIVE, "latents": noise, "strength": 1.0}
    latents = peer(**how, image=torch.zeros(1, 3, SIZE, SIZE), output_type="latent").images
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="ddim",
        schedule=test_foreign_sd.levels(peer),
        noise=noise,
        size=SIZE,
    )[0]
    peers.assert_close(found.x0[None], latents)


def test_a_model_without_its_second_text_network_is_refused(tmp_path: Path) -> None:
    folder = peers.saved(pipe(tmp_path), tmp_path / "model")
    index = (folder / "model_index.json").read_text().replace('"text_encoder_2"', '"text_encoder_9"')
    (folder / "model_index.json").write_text(index)
    (folder / "text_encoder_2").rename(folder / "text_encoder_9")
    with pytest.raises(InputError, match="has no text_encoder_2, which sdxl base needs"):
        unnoise.load(folder)


def test_real_size() -> None:
    base = {
        "sample_size": 128, "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }  # fmt: skip
    net = empty("UNet2DConditionModel", base, "published")
    assert sum(value.numel() for value in net.parameters()) == 2_567_463_684
