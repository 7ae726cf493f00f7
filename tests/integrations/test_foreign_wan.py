"""Wan against diffusers' own pipeline on the same random weights, noise and levels; from a folder and from one file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

import unnoise
from integrations import peers
from unnoise.errors import InputError

FRAMES, SIZE, STEPS = 5, 32, 4
BACK = (  # names of the makers for those of diffusers, in the order in which they are put back
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("attn2", "cross_attn"), ("attn1", "self_attn"), (".to_out.0.", ".o."), (".to_q.", ".q."), (".to_k.", ".k."),
    (".to_v.", ".v."), ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"), ("proj_out", "head.head"),
    ("norm2", "norm!"), ("norm3", "norm2"), ("norm!", "norm3"),
)  # fmt: skip


def transformer(seed: int = 0) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    made = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )  # fmt: skip
    return peers.spread(made)


def pipe(second: bool = False) -> WanPipeline:
    torch.manual_seed(1)
    vae = peers.spread(AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1))
    config = UMT5Config(
        vocab_size=400, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    more: dict[str, Any] = {"transformer_2": transformer(5), "boundary_ratio": 0.6} if second else {}
    made = WanPipeline(
        tokenizer=peers.t5_tokenizer(), text_encoder=peers.spread(UMT5EncoderModel(config)),
        transformer=transformer(), vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0), **more,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def both(peer: WanPipeline, model: Path, **more: Any) -> tuple[Any, Any]:
    noise = torch.randn(1, 16, 2, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    how = {"height": SIZE, "width": SIZE, "num_frames": FRAMES, "num_inference_steps": STEPS, "guidance_scale": 7.5}
    how |= {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE}
    latents = peer(**how, latents=noise, output_type="latent").frames
    film = peer(**how, latents=noise, output_type="np").frames[0]
    grid = peers.flow_levels(peer)
    how = {"negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "size": SIZE, "frames": FRAMES}
    ours = unnoise.load(model, **more)
    found = ours.generate(peers.PROMPT, sampler="euler", schedule=grid, noise=noise, **how)[0]
    peers.assert_close(found.x0[None], latents)
    return found, film


@pytest.mark.parametrize("second", [False, True], ids=["wan-2.1", "wan-2.2"])
def test_wan_equals_diffusers(tmp_path: Path, second: bool) -> None:
    peer = pipe(second)
    found, film = both(peer, peers.saved(peer, tmp_path / "model"))
    assert found.video.fps == 16
    ours = np.stack([np.asarray(frame, dtype=float) for frame in found.video.frames])
    assert ours.shape == film.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.abs(ours - film * 255).max() <= 1
    assert film.std() > 0.01


def test_one_file_equals_the_folder(tmp_path: Path) -> None:
    peer = pipe()
    folder = peers.saved(peer, tmp_path / "model")
    state = peer.transformer.state_dict()
    makers = {}
    for name, value in state.items():
        key = name.replace("scale_shift_table", "modulation" if name.startswith("blocks.") else "head.modulation")
        for ours, theirs in BACK:
            key = key.replace(ours, theirs)
        makers[f"model.diffusion_model.{key}"] = value.contiguous()
    save_file(makers, tmp_path / "wan.safetensors")
    one = unnoise.load(tmp_path / "wan.safetensors", components=folder)
    whole = unnoise.load(folder)
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(one.denoiser.state_dict()[name], value), name
    assert one.card.fingerprint == whole.card.fingerprint


def test_frames_are_of_the_stride(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(), tmp_path / "model"))
    with pytest.raises(InputError, match=r"frames 6: 'model' makes 4\*k \+ 1 frames, such as 5 or 9"):
        ours.generate("a cat", frames=6, size=SIZE)
    with pytest.raises(InputError, match="multiples of 16"):
        ours.generate("a cat", frames=5, size=40)


def test_default_levels_have_the_shift_of_the_model(tmp_path: Path) -> None:
    from unnoise.sampling.grid import flow_shift

    ours = unnoise.load(peers.saved(pipe(), tmp_path / "model"))
    plan = ours.plan("a cat", steps=6).settings
    assert plan.grid == flow_shift(6, 7.0)
    assert plan.frames == 81
