"""Single files of SD3, FLUX, PixArt and Sana in the names of their makers: equal to the folder of the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file

import unnoise
from integrations import (
    maker_names,
    peers,
    test_foreign_flux,
    test_foreign_pixart,
    test_foreign_sana,
    test_foreign_sd3,
)
from unnoise.errors import InputError
from unnoise.integrations.diffusers.single.flux import transformer

State = dict[str, torch.Tensor]
CASES: dict[str, tuple[Callable[[Path], Any], Callable[[State], State]]] = {
    "sd3": (test_foreign_sd3.pipe, maker_names.sd3),
    "flux": (test_foreign_flux.pipe, maker_names.flux),
    "schnell": (lambda folder: test_foreign_flux.pipe(folder, dev=False), maker_names.flux),
    "pixart": (lambda _: test_foreign_pixart.pipe(alpha=False), maker_names.pixart),
    "sana": (lambda _: test_foreign_sana.pipe(), maker_names.sana),
}


def written(tensors: State, path: Path) -> Path:
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path)
    return path


@pytest.mark.cpu_isa
@pytest.mark.parametrize("case", CASES)
def test_one_file_equals_the_folder(tmp_path: Path, case: str) -> None:
    make, name = CASES[case]
    pipe = make(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    file = written(name(pipe.transformer.state_dict()), tmp_path / f"{case}.safetensors")
    one, whole = unnoise.load(file, components=folder), unnoise.load(folder)
    assert one.card.family == whole.card.family
    for tensor, value in whole.denoiser.state_dict().items():
        assert torch.equal(one.denoiser.state_dict()[tensor], value), tensor
    assert one.card.fingerprint == whole.card.fingerprint
    alone = [peers.moved(pipeline).generate("a cat", seed=3, steps=2, size=32)[0].x0 for pipeline in (one, whole)]
    assert torch.equal(*alone)


def test_flux_is_renamed_as_diffusers_does_at_its_real_width() -> None:
    wide, state = 3072, {}
    rows = {
        "double_blocks.0.img_mod.lin": 6, "double_blocks.0.txt_mod.lin": 6, "double_blocks.0.img_attn.qkv": 3,
        "double_blocks.0.txt_attn.qkv": 3, "double_blocks.0.img_attn.proj": 1, "double_blocks.0.txt_attn.proj": 1,
        "double_blocks.0.img_mlp.0": 4, "double_blocks.0.img_mlp.2": 1, "double_blocks.0.txt_mlp.0": 4,
        "double_blocks.0.txt_mlp.2": 1, "single_blocks.0.modulation.lin": 3, "single_blocks.0.linear1": 7,
        "single_blocks.0.linear2": 1, "final_layer.adaLN_modulation.1": 2, "img_in": 1, "txt_in": 1,
        "time_in.in_layer": 1, "time_in.out_layer": 1, "vector_in.in_layer": 1, "vector_in.out_layer": 1,
        "guidance_in.in_layer": 1, "guidance_in.out_layer": 1, "final_layer.linear": 1,
    }  # fmt: skip
    for number, (name, times) in enumerate(rows.items()):
        column = torch.arange(wide * times, dtype=torch.float32) + number / 100
        state[f"{name}.weight"], state[f"{name}.bias"] = column[:, None].expand(-1, 2), column + 0.5
    for number, place in enumerate(("double_blocks.0.img_attn", "double_blocks.0.txt_attn", "single_blocks.0")):
        for kind in ("query", "key"):
            state[f"{place}.norm.{kind}_norm.scale"] = torch.full((128,), number + 0.1 * (kind == "key"))
    peer = convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    ours = transformer(state)
    assert ours.keys() == peer.keys()
    assert all(torch.equal(ours[name], value) for name, value in peer.items())


def test_a_file_without_text_networks_needs_components(tmp_path: Path) -> None:
    pipe = test_foreign_flux.pipe(tmp_path)
    state = maker_names.flux(pipe.transformer.state_dict())
    with pytest.raises(InputError, match="has no vae, which flux1"):
        unnoise.load(written(state, tmp_path / "flux.safetensors"))


def test_text_networks_and_autoencoder_within_a_file(tmp_path: Path) -> None:
    from integrations import ldm_names

    pipe = test_foreign_sd3.pipe(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    tensors = maker_names.sd3(pipe.transformer.state_dict()) | ldm_names.vae(pipe.vae)
    tensors |= ldm_names.clip(pipe.text_encoder, "text_encoders.clip_l.transformer.")
    tensors |= ldm_names.clip(pipe.text_encoder_2, "text_encoders.clip_g.transformer.")
    t5 = {name: value for name, value in pipe.text_encoder_3.state_dict().items() if "embed_tokens" not in name}
    tensors |= {f"text_encoders.t5xxl.transformer.{name}": value for name, value in t5.items()}
    one, whole = unnoise.load(written(tensors, tmp_path / "x.safetensors"), components=folder), unnoise.load(folder)
    for role, net in whole.networks().items():
        state = one.networks()[role].state_dict()
        assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert one.card.fingerprint == whole.card.fingerprint
