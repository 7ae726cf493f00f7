"""LTX-Video against diffusers' own pipeline on the same random weights, noise and levels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel
from safetensors.torch import save_file

import unnoise
from integrations import peers

FRAMES, SIZE, STEPS = 9, 64, 4


def pipe(timed: bool = False) -> LTXPipeline:
    torch.manual_seed(0)
    transformer = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
        cross_attention_dim=32, num_layers=2, caption_channels=32,
    )  # fmt: skip
    vae = AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=8, block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8), layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False), decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4, upsample_factor=(1,) * 4,
        timestep_conditioning=timed, patch_size=1, patch_size_t=1, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    vae.latents_mean = torch.linspace(-0.5, 0.5, 8)
    vae.latents_std = torch.linspace(0.5, 1.5, 8)
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    made = LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=peers.spread(vae), text_encoder=peers.t5_text(),
        tokenizer=peers.t5_tokenizer(), transformer=peers.spread(transformer),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("timed", [False, True], ids=["decoder", "timed-decoder"])
def test_ltx_equals_diffusers(tmp_path: Path, timed: bool) -> None:
    peer = pipe(timed)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    shape = ours.space.shape(SIZE, SIZE, FRAMES)
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(3))
    how = {"height": SIZE, "width": SIZE, "num_frames": FRAMES, "num_inference_steps": STEPS, "guidance_scale": 7.5}
    how |= {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "frame_rate": 25}
    packed = noise.flatten(2).transpose(1, 2)
    latents = peer(**how, latents=packed, output_type="latent").frames
    film = peer(**how, latents=packed, output_type="np").frames[0]
    grid = peers.flow_levels(peer)
    how = {"negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "size": SIZE, "frames": FRAMES}
    found = ours.generate(peers.PROMPT, sampler="euler", schedule=grid, noise=noise, **how)[0]
    peers.assert_close(found.x0[None].flatten(2).transpose(1, 2), latents)
    seen = np.stack([np.asarray(frame, dtype=float) for frame in found.video.frames])
    assert np.abs(seen - film * 255).max() <= 1
    assert film.std() > 0.01


def test_one_file_equals_the_folder(tmp_path: Path) -> None:
    peer = pipe()
    folder = peers.saved(peer, tmp_path / "model")
    makers = {}
    for name, value in peer.transformer.state_dict().items():
        for ours, theirs in (("proj_in", "patchify_proj"), ("time_embed", "adaln_single"), ("norm_q", "q_norm")):
            name = name.replace(ours, theirs)
        makers[f"model.diffusion_model.{name.replace('norm_k', 'k_norm')}"] = value.contiguous()
    save_file(makers, tmp_path / "ltx.safetensors")
    one = unnoise.load(tmp_path / "ltx.safetensors", components=folder)
    whole = unnoise.load(folder)
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(one.denoiser.state_dict()[name], value), name
