"""Stable Diffusion 3 against diffusers' own pipeline on the same random weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

import unnoise
from integrations import peers
from unnoise.integrations.diffusers.classes import empty
from unnoise.sampling.grid import flow_shift

STEPS, SIZE = 4, 32
MEDIUM = {
    "sample_size": 128, "patch_size": 2, "in_channels": 16, "num_layers": 24, "attention_head_dim": 64,
    "num_attention_heads": 24, "joint_attention_dim": 4096, "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048, "out_channels": 16, "pos_embed_max_size": 192,
}  # fmt: skip


def vae() -> AutoencoderKL:
    torch.manual_seed(2)
    made = AutoencoderKL(
        block_out_channels=[8, 8, 8, 8], down_block_types=["DownEncoderBlock2D"] * 4, norm_num_groups=4,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609,
        use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    return peers.spread(made)


def transformer(**more: Any) -> Any:
    torch.manual_seed(3)
    made = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=32, joint_attention_dim=96, pooled_projection_dim=64, out_channels=16,
        pos_embed_max_size=16, **more,
    )  # fmt: skip
    return peers.spread(made)


def pipe(folder: Path, t5: bool = True, **more: Any) -> StableDiffusion3Pipeline:
    made = StableDiffusion3Pipeline(
        transformer=transformer(**more), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(),
        text_encoder=peers.clip_text(0, projected=True), tokenizer=peers.clip_tokenizer(folder / "a"),
        text_encoder_2=peers.clip_text(1, projected=True), tokenizer_2=peers.clip_tokenizer(folder / "b", "!"),
        text_encoder_3=peers.t5_text(2, 96) if t5 else None, tokenizer_3=peers.t5_tokenizer(256) if t5 else None,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(
    ("t5", "more"),
    [(True, {}), (False, {}), (True, {"dual_attention_layers": (0,), "qk_norm": "rms_norm"})],
    ids=["sd3", "without-t5", "3.5-medium"],
)
def test_sd3_equals_diffusers(tmp_path: Path, t5: bool, more: dict[str, Any]) -> None:
    peer = pipe(tmp_path, t5, **more)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    noise = torch.randn(1, 16, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    how = {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5}
    how |= {"num_inference_steps": STEPS, "latents": noise, "height": SIZE, "width": SIZE}
    latents, pictures = peer(**how, output_type="latent").images, peer(**how).images
    found = ours.generate(
        peers.PROMPT, negative_prompt=peers.NEGATIVE, guidance_scale=7.5, sampler="euler",
        schedule=peers.flow_levels(peer), noise=noise,
        size=SIZE,
    )[0]  # fmt: skip
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)


def test_prompts_of_different_lengths_do_not_touch_each_other(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(tmp_path), tmp_path / "model"))
    long = "a cat in a hat " * 8
    both = ours.generate(["a cat", long], seed=5, steps=3, size=SIZE)
    for prompt, found in zip(("a cat", long), both, strict=True):
        peers.assert_close(found.x0, ours.generate(prompt, seed=5, steps=3, size=SIZE)[0].x0, 1e-5)


def test_levels_are_shifted_as_the_folder_says(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(tmp_path), tmp_path / "model"))
    plan = ours.plan("a cat").settings
    assert plan.grid == flow_shift(28, 3.0)
    assert (plan.guidance_scale, plan.size) == (7.0, (64, 64))


def test_real_size() -> None:
    net = empty("SD3Transformer2DModel", MEDIUM, "published")
    assert sum(value.numel() for value in net.parameters()) == 2_028_328_000
