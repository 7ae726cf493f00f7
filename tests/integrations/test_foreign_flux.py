"""FLUX.1 against diffusers' own pipeline on the same random weights, noise and levels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

import unnoise
from integrations import peers, test_foreign_sd3
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.flux import packed, unpacked
from unnoise.sampling.grid import flow_shift, flux_shift

STEPS, SIZE = 4, 32
DEV = {"guidance_embeds": True}


def transformer(dev: bool) -> Any:
    torch.manual_seed(3)
    made = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=dev,
    )  # fmt: skip
    return peers.spread(made)


def pipe(folder: Path, dev: bool = True) -> FluxPipeline:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0 if dev else 1.0, use_dynamic_shifting=dev)
    made = FluxPipeline(
        transformer=transformer(dev), scheduler=scheduler, vae=test_foreign_sd3.vae(), text_encoder=peers.clip_text(0),
        tokenizer=peers.clip_tokenizer(folder / "a"), text_encoder_2=peers.t5_text(2, 32),
        tokenizer_2=peers.t5_tokenizer(512),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("guided", [False, True], ids=["embedded-only", "with-a-negative"])
@pytest.mark.parametrize("dev", [True, False], ids=["dev", "schnell"])
def test_flux_equals_diffusers(tmp_path: Path, dev: bool, guided: bool) -> None:
    peer = pipe(tmp_path, dev)
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    assert (ours.card.family, ours.card.advice.distilled_guidance) == ("flux1", 3.5 if dev else None)
    noise = torch.randn(1, 16, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    how: dict[str, Any] = {"prompt": peers.PROMPT, "height": SIZE, "width": SIZE, "num_inference_steps": STEPS}
    how |= {"latents": packed(noise), "max_sequence_length": 512 if dev else 256, "guidance_scale": 2.5}
    how |= {"negative_prompt": peers.NEGATIVE, "true_cfg_scale": 7.5} if guided else {}
    latents, pictures = peer(**how, output_type="latent").images, peer(**how).images
    more: dict[str, Any] = {"negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5} if guided else {}
    more |= {"distilled_guidance": 2.5} if dev else {}
    found = ours.generate(
        peers.PROMPT, sampler="euler", schedule=peers.flow_levels(peer), noise=noise, size=SIZE, **more
    )[0]
    peers.assert_close(packed(found.x0[None]), latents)
    peers.assert_same_images([found.image], pictures)


def test_packing_is_undone() -> None:
    x = torch.randn(2, 16, 4, 6)
    assert torch.equal(unpacked(packed(x), (4, 6)), x)


def test_guidance_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(pipe(tmp_path), tmp_path / "model"))
    with pytest.raises(
        InputError, match="guidance_scale 3: 'model' takes its guidance as an input; use distilled_guidance 3"
    ):
        ours.generate("a cat", guidance_scale=3, size=SIZE)
    with pytest.raises(InputError, match="multiples of 16"):
        ours.generate("a cat", size=40)
    with pytest.raises(InputError, match="negative_prompt, guidance_interval, guidance_rescale: act through guidance"):
        ours.generate("a cat", negative_prompt="a dog", size=SIZE)


def test_levels_are_those_of_the_model(tmp_path: Path) -> None:
    dev = unnoise.load(peers.saved(pipe(tmp_path), tmp_path / "dev"))
    assert dev.plan("a").settings.grid == flux_shift(28)
    assert dev.plan("a", size=(512, 512)).settings.grid == flux_shift(28, 1024)
    schnell = unnoise.load(peers.saved(pipe(tmp_path, dev=False), tmp_path / "schnell"))
    assert schnell.plan("a").settings.grid == flow_shift(4, 1.0)
    assert schnell.card.variant in ("", "schnell")


def test_real_sizes() -> None:
    for dev, count in ((True, 11_901_408_320), (False, 11_891_178_560)):
        net = empty("FluxTransformer2DModel", {"guidance_embeds": dev}, "published")
        assert sum(value.numel() for value in net.parameters()) == count
