"""Sana against diffusers' own pipeline on the same random weights, noise and levels."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaPipeline, SanaTransformer2DModel
from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

import unnoise
from integrations import peers
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty
from unnoise.sampling.grid import flow_shift

STEPS, SIZE = 4, 32


def words() -> GemmaTokenizer:
    letters = [chr(code) for code in range(33, 127)]
    listed = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *letters, "\n"]
    return GemmaTokenizer(vocab={word: number for number, word in enumerate(listed)}, merges=[])


def pipe(**more: object) -> SanaPipeline:
    torch.manual_seed(3)
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=8,
        sample_size=32, **more,
    )  # fmt: skip
    vae = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=[1, 1], downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
        scaling_factor=0.41407,
    )  # fmt: skip
    text = Gemma2Config(
        head_dim=16, hidden_size=8, intermediate_size=64, max_position_embeddings=8192, model_type="gemma2",
        num_attention_heads=2, num_hidden_layers=1, num_key_value_heads=2, vocab_size=200, attn_implementation="eager",
    )  # fmt: skip
    made = SanaPipeline(
        transformer=peers.spread(transformer), vae=peers.spread(vae), tokenizer=words(),
        text_encoder=peers.spread(Gemma2Model(text)), scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_sana_equals_diffusers(tmp_path: Path) -> None:
    peer = pipe()
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    noise = torch.randn(1, *ours.space.shape(SIZE, SIZE), generator=torch.Generator().manual_seed(3))
    how = {"prompt": "A cat", "negative_prompt": "A Dog", "guidance_scale": 7.5, "height": SIZE, "width": SIZE}
    how |= {"num_inference_steps": STEPS, "latents": noise, "use_resolution_binning": False, "clean_caption": False}
    latents, pictures = peer(**how, output_type="latent").images, peer(**how).images
    found = ours.generate(
        "A cat",
        negative_prompt="A Dog",
        guidance_scale=7.5,
        sampler="euler",
        schedule=peers.flow_levels(peer),
        noise=noise,
        size=SIZE,
    )[0]
    peers.assert_close(found.x0[None], latents)
    peers.assert_same_images([found.image], pictures)


def test_the_instruction_stands_before_the_prompt_alone(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(), tmp_path / "model"))
    assert ours.text_encoder is not None
    prompt, negative = ours.text_encoder(["a cat"])[0], ours.text_encoder.negative("a cat")
    assert prompt.tokens is not None
    assert negative.tokens is not None
    assert prompt.tokens.shape == negative.tokens.shape == (1, 300, 8)
    assert not torch.equal(prompt.tokens, negative.tokens)
    with pytest.raises(InputError, match=r"weight 1\.2 of 'cat': this model's text encoder cannot apply weights"):
        ours.text_encoder(["a (cat:1.2)"], "apply")


def test_sprint_is_refused(tmp_path: Path) -> None:
    folder = peers.saved(pipe(guidance_embeds=True), tmp_path / "model")
    with pytest.raises(InputError, match="Sana-Sprint"):
        unnoise.load(folder)


def test_levels_and_real_size(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(), tmp_path / "model"))
    plan = ours.plan("a").settings
    assert plan.grid == flow_shift(20, 3.0)
    assert plan.size == (64, 64)
    net = empty("SanaTransformer2DModel", {}, "published")
    assert round(sum(value.numel() for value in net.parameters()) / 1e6) == 1604
