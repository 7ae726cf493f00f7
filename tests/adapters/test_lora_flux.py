"""FLUX files of XLabs, OneTrainer and Black Forest Labs, as diffusers reads them and by the rows of fused weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from adapters.test_lora_interchange import changes
from integrations import peers, test_foreign_flux
from safetensors.torch import save_file
from torch import Tensor, nn

import unnoise
from unnoise.adapters.lora.layouts import FLUX
from unnoise.adapters.lora.read import layers_of, read

QKV = ("attn.to_q", "attn.to_k", "attn.to_v")


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A tiny FLUX: its folder, diffusers' pipeline, ours."""
    folder = tmp_path_factory.mktemp("flux")
    peer = test_foreign_flux.pipe(folder)
    model = peers.saved(peer, folder / "model")
    return model, peer, unnoise.load(model)


def pair(out: int, into: int, seed: int, ends: tuple[str, str]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        ends[0]: torch.randn(4, into, generator=generator) * 0.3,
        ends[1]: torch.randn(out, 4, generator=generator) * 0.3,
    }


def assert_as_diffusers(flux: tuple[Path, Any, Any], path: Path, count: int) -> None:
    model, peer, pipeline = flux
    found = read(path, pipeline)
    again = type(peer).from_pretrained(model)
    again.load_lora_weights(str(path.parent), weight_name=path.name)
    theirs = {f"transformer.{name}": change for name, change in changes(again.transformer).items()}
    theirs |= {f"text_encoder.{name}": change for name, change in changes(again.text_encoder).items()}
    assert found.deltas.keys() == theirs.keys()
    assert len(theirs) == count
    for name, module in layers_of(pipeline, found.deltas).items():
        assert torch.allclose(found.deltas[name].change(module.weight), theirs[name], atol=1e-5), name
        assert theirs[name].abs().max() > 1e-3


@pytest.mark.parametrize("start", ["", "diffusion_model."])
def test_files_of_xlabs(flux: tuple[Path, Any, Any], tmp_path: Path, start: str) -> None:
    net = flux[1].transformer
    width = net.transformer_blocks[0].attn.to_q.in_features
    wide = net.single_transformer_blocks[0].proj_out.in_features
    sizes = {
        "double_blocks.0.processor.qkv_lora1": (3 * width, width),
        "double_blocks.0.processor.qkv_lora2": (3 * width, width),
        "double_blocks.0.processor.proj_lora1": (width, width),
        "double_blocks.0.processor.proj_lora2": (width, width),
        "single_blocks.0.processor.qkv_lora": (3 * width, width),
        "single_blocks.0.processor.proj_lora": (width, wide),
    }
    file: dict[str, Tensor] = {}
    for k, (name, (out, into)) in enumerate(sizes.items()):
        file |= pair(out, into, k, (f"{start}{name}.down.weight", f"{start}{name}.up.weight"))
    save_file(file, tmp_path / "xlabs.safetensors")
    assert_as_diffusers(flux, tmp_path / "xlabs.safetensors", 12)


@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters.*:RuntimeWarning")
@pytest.mark.parametrize("dots", [False, True])
def test_files_of_onetrainer(flux: tuple[Path, Any, Any], tmp_path: Path, dots: bool) -> None:
    net = flux[1].transformer
    names = [f"transformer_blocks.0.{name}" for name in (*QKV, "attn.to_out.0", "attn.add_q_proj", "attn.to_add_out")]
    names += [f"single_transformer_blocks.0.{name}" for name in QKV]
    names += ["context_embedder", "x_embedder", "proj_out", "norm_out.linear"]
    names += [f"time_text_embed.{name}_embedder.linear_1" for name in ("timestep", "text", "guidance")]
    file: dict[str, Tensor] = {}
    for k, name in enumerate(names):
        weight = net.get_submodule(name).weight
        stem = f"transformer.{name}" if dots else f"lora_transformer_{name.replace('.', '_')}"
        file |= pair(*weight.shape, k, (f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"))
        if not dots:
            file[f"{stem}.alpha"] = torch.tensor(2.0)
    count = len(names)
    if not dots:
        for k, name in enumerate(("self_attn.q_proj", "mlp.fc1")):
            layers = dict(flux[1].text_encoder.named_modules())
            weight = next(layer for path, layer in layers.items() if path.endswith(f"encoder.layers.0.{name}")).weight
            stem = f"lora_te1_text_model_encoder_layers_0_{name.replace('.', '_')}"
            file |= pair(*weight.shape, k, (f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"))
            file[f"{stem}.alpha"] = torch.tensor(2.0)
        count += 2
    save_file(file, tmp_path / "onetrainer.safetensors")
    assert_as_diffusers(flux, tmp_path / "onetrainer.safetensors", count)


def test_norms_and_fused_biases_of_the_original_names(flux: tuple[Path, Any, Any], tmp_path: Path) -> None:
    """A bias of a fused layer is split as its weight is; norm scales of Black Forest Labs are new values."""
    net, pipeline = flux[1].transformer, flux[2]
    width, head = net.transformer_blocks[0].attn.to_q.in_features, len(net.transformer_blocks[0].attn.norm_q.weight)
    mlp = net.single_transformer_blocks[0].proj_mlp.out_features
    qkv, fused = torch.arange(3.0 * width), torch.arange(3.0 * width + mlp)
    last, stem = torch.arange(2.0 * width), "double_blocks.0.img_attn.qkv"
    file = {
        **pair(3 * width, width, 0, (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight")),
        f"{stem}.lora_B.bias": qkv,
        "single_blocks.0.linear1.diff_b": fused,
        "final_layer.adaLN_modulation.1.diff_b": last,
        "double_blocks.0.img_attn.norm.query_norm.scale": torch.full((head,), 3.0),
        "single_blocks.0.norm.key_norm.set_weight": torch.full((head,), 2.0),
        "double_blocks.0.txt_attn.norm.query_norm.diff": torch.ones(head),
    }
    save_file(file, tmp_path / "bfl.safetensors")
    found = read(tmp_path / "bfl.safetensors", pipeline)
    for k, name in enumerate(QKV):
        assert torch.equal(found.biases[f"transformer.transformer_blocks.0.{name}"], qkv[k * width : (k + 1) * width])
        single = found.biases[f"transformer.single_transformer_blocks.0.{name}"]
        assert torch.equal(single, fused[k * width : (k + 1) * width])
    assert torch.equal(found.biases["transformer.single_transformer_blocks.0.proj_mlp"], fused[3 * width :])
    assert torch.equal(found.biases["transformer.norm_out.linear"], torch.cat([last[width:], last[:width]]))
    expected = {"transformer_blocks.0.attn.norm_q": 3.0, "single_transformer_blocks.0.attn.norm_k": 2.0}
    for name, value in expected.items():
        weight = net.get_submodule(name).weight
        assert torch.allclose(weight + found.deltas[f"transformer.{name}"].change(weight), torch.full((head,), value))
    added = found.deltas["transformer.transformer_blocks.0.attn.norm_added_q"]
    assert torch.equal(added.change(net.transformer_blocks[0].attn.norm_added_q.weight), torch.ones(head))


def test_every_name_of_the_table_is_a_layer(flux: tuple[Path, Any, Any]) -> None:
    net: nn.Module = flux[1].transformer
    for targets in FLUX.values():
        for target in targets:
            net.get_submodule(target.format(0))
