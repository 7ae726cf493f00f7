"""ControlNets against diffusers' pipelines on the same random weights, noise and levels; other families are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import unnoise
from integrations import peers
from integrations.test_foreign_sd import HOW, SIZE, STEPS, levels, pipe
from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError, InputWarning
from unnoise.integrations.diffusers.controlnet import with_control
from unnoise.pipeline import Pipeline


def control_picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    """A pipeline of the peer, its folder, and the folder of a control for it."""
    folder = tmp_path_factory.mktemp("control")
    peer = pipe(folder)
    torch.manual_seed(5)
    control = peers.spread(ControlNetModel.from_unet(peer.unet), 0.1)
    control.save_pretrained(folder / "control")
    return peer, peers.saved(peer, folder / "model"), folder / "control"


def drawn(peer: Any, control: Path, weight: float, noise: Tensor) -> Tensor:
    made = StableDiffusionControlNetPipeline(
        **{name: part for name, part in peer.components.items() if name != "image_encoder"},
        controlnet=ControlNetModel.from_pretrained(control), requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    how = {**HOW, "num_inference_steps": STEPS, "latents": noise, "controlnet_conditioning_scale": weight}
    return made(**how, image=control_picture(), output_type="latent").images  # type: ignore[no-any-return]


def ours(pipeline: Pipeline, peer: Any, noise: Tensor, **more: Any) -> Tensor:
    peer.scheduler.set_timesteps(STEPS)
    how = {
        "negative_prompt": peers.NEGATIVE,
        "guidance_scale": 7.5,
        "sampler": "ddim",
        "schedule": levels(peer),
        "size": SIZE,
    }
    return pipeline.generate(peers.PROMPT, noise=noise, **how, **more)[0].x0[None]  # type: ignore[arg-type]


def noise() -> Tensor:
    return torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_controlnet_equals_diffusers(held: tuple[Any, Path, Path], weight: float) -> None:
    peer, model, control = held
    found = ours(
        unnoise.load(model, control=control), peer, noise(), control_image=control_picture(), control_scale=weight
    )
    peers.assert_close(found, drawn(peer, control, weight, noise()))
    plain = ours(unnoise.load(model), peer, noise())
    assert (found - plain).abs().max() > 0.05, "a control without effect tests nothing"


def test_the_base_does_not_change(held: tuple[Any, Path, Path]) -> None:
    peer, model, control = held
    base = unnoise.load(model)
    before = {name: value.clone() for name, value in base.denoiser.net.state_dict().items()}
    first = ours(base, peer, noise())
    ours(with_control(base, control), peer, noise(), control_image=control_picture())
    assert torch.equal(ours(base, peer, noise()), first)
    after = base.denoiser.net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_rows_have_scales_of_their_own(held: tuple[Any, Path, Path]) -> None:
    _, model, control = held
    pipeline = unnoise.load(model, control=control)
    text = pipeline.text_encoder
    assert text is not None
    tokens = text([peers.PROMPT])[0].tokens
    assert tokens is not None
    x, sigma = noise().expand(2, -1, -1, -1), torch.ones(2)
    shown = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)).expand(2, -1, -1, -1)
    weights = torch.tensor([0.3, 1.2])
    with torch.no_grad():
        both = pipeline.denoiser(
            x, sigma, Conditioning(tokens=tokens.expand(2, -1, -1), control_image=shown, control_scale=weights)
        )
        for row in range(2):
            one = slice(row, row + 1)
            alone = Conditioning(tokens=tokens, control_image=shown[one], control_scale=weights[one])
            peers.assert_close(both[one], pipeline.denoiser(x[one], sigma[one], alone), 1e-5)


def test_a_single_file_equals_the_folder(held: tuple[Any, Path, Path], tmp_path: Path) -> None:
    peer, model, control = held
    save_file(load_file(control / "diffusion_pytorch_model.safetensors"), tmp_path / "control.safetensors")
    folder, file = (unnoise.load(model, control=path) for path in (control, tmp_path / "control.safetensors"))
    assert torch.equal(*(ours(made, peer, noise(), control_image=control_picture()) for made in (folder, file)))


def test_another_family_is_refused(held: tuple[Any, Path, Path], tmp_path: Path) -> None:
    _, model, _ = held
    other = ControlNetModel(
        block_out_channels=(32, 64), layers_per_block=1, in_channels=4, norm_num_groups=8, cross_attention_dim=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=8,
    )  # fmt: skip
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        InputError, match=r"a ControlNet for sdxl, with text of width 2048; 'model' is sd1, with text of width 32"
    ):
        unnoise.load(model, control=tmp_path / "other")


def test_invalid_input_is_refused(held: tuple[Any, Path, Path], tmp_path: Path) -> None:
    _, model, control = held
    with pytest.raises(
        InputError, match=r"control_image: 'model' was loaded without control; use load\(..., control=...\)"
    ):
        unnoise.load(model).generate(peers.PROMPT, size=SIZE, control_image=control_picture())
    pipeline = unnoise.load(model, control=control)
    with pytest.raises(InputError, match="control_image: none is given, and 'model' was loaded with control"):
        pipeline.generate(peers.PROMPT, size=SIZE)
    small, how = control_picture().resize((32, 32)), {"seed": 1, "steps": 1, "size": SIZE}
    with pytest.warns(InputWarning, match="^control_image of 32x32: resized to 64x64$"):
        resized = pipeline.generate(peers.PROMPT, control_image=small, **how)[0]
    fitting = small.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    assert torch.equal(resized.x0, pipeline.generate(peers.PROMPT, control_image=fitting, **how)[0].x0)
    save_file({"weight": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="not a ControlNet"):
        unnoise.load(model, control=tmp_path / "none.safetensors")
    torn = load_file(control / "diffusion_pytorch_model.safetensors")
    torn.pop("conv_in.weight")
    save_file(torn, control / "torn.safetensors")
    with pytest.raises(InputError, match=r"missing tensors: 1 of \d+: conv_in.weight"):
        unnoise.load(model, control=control / "torn.safetensors")
