"""PixArt-alpha and -Sigma against diffusers' own pipelines on the same random weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)

import unnoise
from integrations import peers, test_foreign_sd
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty

STEPS, SIZE = 4, 64
SOLVERS = [(DDIMScheduler, "ddim"), (EulerDiscreteScheduler, "euler"), (DPMSolverMultistepScheduler, "dpmpp-2m")]
PUBLISHED = {
    "activation_fn": "gelu-approximate", "attention_bias": True, "attention_head_dim": 72, "caption_channels": 4096,
    "cross_attention_dim": 1152, "in_channels": 4, "num_attention_heads": 16, "num_layers": 28, "out_channels": 8,
    "patch_size": 2, "norm_type": "ada_norm_single", "norm_elementwise_affine": False, "num_embeds_ada_norm": 1000,
}  # fmt: skip


def pipe(alpha: bool) -> Any:
    torch.manual_seed(3)
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
        use_additional_conditions=alpha,
    )  # fmt: skip
    made = (PixArtAlphaPipeline if alpha else PixArtSigmaPipeline)(
        tokenizer=peers.t5_tokenizer(120 if alpha else 300), text_encoder=peers.t5_text(), vae=test_foreign_sd.vae(),
        transformer=peers.spread(transformer), scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(("peer_class", "sampler"), SOLVERS)
def test_sigma_equals_diffusers(tmp_path: Path, peer_class: Any, sampler: str) -> None:
    peer = pipe(alpha=False)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    more = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1} if peer_class is DDIMScheduler else {}
    peer.scheduler = peer_class.from_config(peer.scheduler.config, **more)
    peer.scheduler.set_timesteps(STEPS)
    ddim = peer_class is DDIMScheduler
    grid = test_foreign_sd.levels(peer) if ddim else [float(sigma) for sigma in peer.scheduler.sigmas]
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    how = {"prompt": "A Cat ", "negative_prompt": "A dog", "guidance_scale": 7.5, "height": SIZE, "width": SIZE}
    how |= {"num_inference_steps": STEPS, "latents": noise, "use_resolution_binning": False, "clean_caption": False}
    latents, pictures = peer(**how, output_type="latent").images, peer(**how).images
    begun = float(peer.scheduler.init_noise_sigma)
    first = noise * begun / (1 + grid[0] ** 2) ** 0.5 if begun != 1 else noise
    found = ours.generate(
        "A Cat ", negative_prompt="A dog", guidance_scale=7.5, sampler=sampler, schedule=grid, noise=first, size=SIZE
    )[0]
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)


def test_alpha_gets_the_size_as_in_diffusers(tmp_path: Path) -> None:
    peer = pipe(alpha=True)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    assert ours.denoiser.net.sized
    # The peer tells the size only where its sample_size is the published 128.
    peer.transformer.register_to_config(sample_size=128)
    peer.scheduler.set_timesteps(STEPS)
    grid = [float(sigma) for sigma in peer.scheduler.sigmas]
    size = (SIZE, SIZE // 2)
    noise = torch.randn(1, 4, size[1] // 8, size[0] // 8, generator=torch.Generator().manual_seed(3))
    how = {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "width": size[0]}
    how |= {"num_inference_steps": STEPS, "latents": noise, "use_resolution_binning": False, "clean_caption": False}
    latents = peer(**how, height=size[1], output_type="latent").images
    found = ours.generate(
        peers.PROMPT,
        negative_prompt=peers.NEGATIVE,
        guidance_scale=7.5,
        sampler="dpmpp-2m",
        schedule=grid,
        noise=noise,
        size=size,
    )[0]
    peers.assert_close(found.x0[None], latents)


def test_alpha_reads_fewer_tokens(tmp_path: Path) -> None:
    alpha = unnoise.load(peers.saved(pipe(alpha=True), tmp_path / "alpha"))
    with pytest.raises(InputError, match="has 141 tokens, at most 120 are allowed"):
        alpha.generate("b " * 140, size=SIZE)
    sigma = unnoise.load(peers.saved(pipe(alpha=False), tmp_path / "sigma"))
    assert sigma.generate("b " * 140, size=SIZE, steps=2)


def test_older_folders_name_another_class(tmp_path: Path) -> None:
    folder = peers.saved(pipe(alpha=True), tmp_path / "model")
    new = unnoise.load(folder)
    for path in (folder / "model_index.json", folder / "transformer/config.json"):
        path.write_text(path.read_text().replace("PixArtTransformer2DModel", "Transformer2DModel"))
    old = unnoise.load(folder)
    assert old.card.fingerprint == new.card.fingerprint
    assert type(old.denoiser.net) is type(new.denoiser.net)


def test_real_sizes() -> None:
    for size, count in ((64, 610_856_096), (128, 611_349_152)):
        net = empty("PixArtTransformer2DModel", PUBLISHED | {"sample_size": size}, "published")
        assert sum(value.numel() for value in net.parameters()) == count
