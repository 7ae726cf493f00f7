"""IP-Adapters against diffusers on the same random weights, noise and levels; other families are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

import unnoise
from integrations import peers
from integrations.test_foreign_controlnet import noise, ours
from integrations.test_foreign_sd import HOW, SIZE, STEPS, pipe
from unnoise.errors import InputError
from unnoise.generation.images import image_tensor
from unnoise.integrations.diffusers.ip_adapter import prepared, with_ip_adapter

SIDE, WIDTH, TOKENS = 32, 24, 4
VISION = {
    "hidden_size": WIDTH, "intermediate_size": 37, "num_hidden_layers": 3, "num_attention_heads": 4,
    "image_size": SIDE, "patch_size": 8, "projection_dim": WIDTH,
}  # fmt: skip


def picture(side: int = SIDE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(4).integers(0, 256, (side, side, 3), dtype=np.uint8))


def plain(text: int) -> dict[str, Tensor]:
    return {
        "proj.weight": torch.randn(TOKENS * text, WIDTH) * 0.2, "proj.bias": torch.randn(TOKENS * text) * 0.1,
        "norm.weight": torch.rand(text) + 0.5, "norm.bias": torch.randn(text) * 0.1,
    }  # fmt: skip


def plus(text: int) -> dict[str, Tensor]:
    """Write the resampler of the "plus" layout, under the names that its makers gave it."""
    inner = 64  # one head
    found = {
        "latents": torch.randn(1, TOKENS, inner), "proj_in.weight": torch.randn(inner, WIDTH) * 0.3,
        "proj_in.bias": torch.randn(inner) * 0.1, "proj_out.weight": torch.randn(text, inner) * 0.3,
        "proj_out.bias": torch.randn(text) * 0.1, "norm_out.weight": torch.rand(text) + 0.5,
        "norm_out.bias": torch.randn(text) * 0.1,
    }  # fmt: skip
    for k in range(4):
        at = f"layers.{k}"
        for norm in ("0.norm1", "0.norm2", "1.0"):
            found |= {f"{at}.{norm}.weight": torch.rand(inner) + 0.5, f"{at}.{norm}.bias": torch.randn(inner) * 0.1}
        found |= {f"{at}.0.to_q.weight": torch.randn(inner, inner) * 0.1}
        found |= {f"{at}.0.to_kv.weight": torch.randn(2 * inner, inner) * 0.1}
        found |= {f"{at}.0.to_out.weight": torch.randn(inner, inner) * 0.1}
        found |= {f"{at}.1.1.weight": torch.randn(4 * inner, inner) * 0.1}
        found |= {f"{at}.1.3.weight": torch.randn(inner, 4 * inner) * 0.1}
    return found


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A pipeline of the peer, and a folder: of its model, of adapters of two kinds, and of their image encoder."""
    folder = tmp_path_factory.mktemp("ip_adapter")
    return written(folder), folder


def written(folder: Path) -> Any:
    """Write a model, adapters of two kinds and their image encoder, and return the peer's pipeline of the model."""
    peer = pipe(folder)
    torch.manual_seed(6)
    vision = peers.spread(CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)))
    vision.save_pretrained(folder / "encoder")
    unet = peer.unet
    crossed = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    layers = {}
    for k, name in enumerate(crossed):
        shape = unet.get_submodule(name).to_k.weight.shape
        layers |= {f"ip_adapter.{2 * k + 1}.to_{half}_ip.weight": torch.randn(shape) * 0.3 for half in "kv"}
    for name, projection in (("plain", plain(32)), ("plus", plus(32))):
        save_file(
            {f"image_proj.{key}": value for key, value in projection.items()} | layers, folder / f"{name}.safetensors"
        )
    peers.saved(peer, folder / "model")
    return peer


def drawn(peer: Any, folder: Path, kind: str, weight: float) -> Tensor:
    peer.feature_extractor = CLIPImageProcessor(size=SIDE, crop_size=SIDE)
    peer.image_encoder = CLIPVisionModelWithProjection.from_pretrained(folder / "encoder")
    peer.load_ip_adapter(str(folder), subfolder="", weight_name=f"{kind}.safetensors", image_encoder_folder=None)
    try:
        peer.set_ip_adapter_scale(weight)
        how = {**HOW, "num_inference_steps": STEPS, "latents": noise(), "ip_adapter_image": picture()}
        return peer(**how, output_type="latent").images  # type: ignore[no-any-return]
    finally:
        peer.unload_ip_adapter()


@pytest.mark.parametrize("weight", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["plain", "plus"])
def test_an_ip_adapter_equals_diffusers(held: tuple[Any, Path], kind: str, weight: float) -> None:
    peer, folder = held
    peers_own = drawn(peer, folder, kind, weight)
    pipeline = unnoise.load(folder / "model", ip_adapter=(folder / f"{kind}.safetensors", folder / "encoder"))
    found = ours(pipeline, peer, noise(), ip_adapter_image=picture(), ip_adapter_scale=weight)
    peers.assert_close(found, peers_own)
    without = ours(unnoise.load(folder / "model"), peer, noise())
    assert (found - without).abs().max() > 0.05, "an image that changes nothing compares nothing"


def test_the_base_does_not_change(held: tuple[Any, Path]) -> None:
    peer, folder = held
    base = unnoise.load(folder / "model")
    before = {name: value.clone() for name, value in base.denoiser.net.state_dict().items()}
    first = ours(base, peer, noise())
    ours(
        with_ip_adapter(base, folder / "plain.safetensors", folder / "encoder"),
        peer,
        noise(),
        ip_adapter_image=picture(),
    )
    assert torch.equal(ours(base, peer, noise()), first)
    after = base.denoiser.net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_replay_takes_the_adapter_of_the_sample_and_no_other(held: tuple[Any, Path]) -> None:
    _, folder = held
    files = [(folder / f"{kind}.safetensors", folder / "encoder") for kind in ("plain", "plus")]
    one, other = (unnoise.load(folder / "model", ip_adapter=pair) for pair in files)
    sample = one.generate("a cat", seed=1, steps=1, size=SIDE, guidance_scale=1, ip_adapter_image=picture())[0]
    assert torch.equal(one.replay(sample, ip_adapter_image=picture()).x0, sample.x0)
    with pytest.raises(InputError, match=r"drawn with the ip_adapter [0-9a-f]{12}; this one is [0-9a-f]{12}"):
        other.replay(sample, ip_adapter_image=picture())


def test_an_image_is_prepared_as_by_clip() -> None:
    peer = CLIPImageProcessor(size=SIDE, crop_size=SIDE)(picture(), return_tensors="pt").pixel_values
    assert (prepared(image_tensor(picture()), SIDE) - peer).abs().max() < 1e-5
    large = Image.fromarray(np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8))
    peer = CLIPImageProcessor(size=SIDE, crop_size=SIDE)(large, return_tensors="pt").pixel_values
    assert (prepared(image_tensor(large), SIDE) - peer).abs().max() < 0.05  # the peer rounds to 8 bits between


def test_another_family_is_refused(held: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = held
    wide = {f"image_proj.{name}": value for name, value in plain(768).items()}
    save_file(wide | {"ip_adapter.1.to_k_ip.weight": torch.zeros(320, 768)}, tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match=r"an IP-Adapter for another family: 'model' is sd1, where it is \[64, 32\]"):
        unnoise.load(folder / "model", ip_adapter=(tmp_path / "wide.safetensors", folder / "encoder"))
    save_file({"weight": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="not an IP-Adapter"):
        unnoise.load(folder / "model", ip_adapter=(tmp_path / "none.safetensors", folder / "encoder"))
    with pytest.raises(InputError, match="ip_adapter_image: 'model' was loaded without ip_adapter"):
        unnoise.load(folder / "model").generate(peers.PROMPT, size=SIZE, ip_adapter_image=picture())
    with pytest.raises(InputError, match="two paths, the IP-Adapter's file and the folder of its encoder"):
        unnoise.load(folder / "model", ip_adapter=("one.safetensors",))


def test_the_resampler_of_the_test_is_the_peers(held: tuple[Any, Path]) -> None:
    peer, _ = held
    made = peer.unet._convert_ip_adapter_image_proj_to_diffusers(plus(32), low_cpu_mem_usage=False)
    assert isinstance(made, IPAdapterPlusImageProjection)
