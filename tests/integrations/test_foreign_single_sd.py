"""Single files of Stable Diffusion 1, 2 and XL: recognised by tensors, equal to the folder of the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import unnoise
from integrations import ldm_names, peers, test_foreign_sd, test_foreign_sdxl
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.probe import predicts_eps, probe_prediction
from unnoise.integrations.diffusers.single.ldm import unet

State = dict[str, torch.Tensor]


def sd1(pipe: Any) -> State:
    text = ldm_names.clip(pipe.text_encoder, "cond_stage_model.transformer.")
    return ldm_names.unet(pipe.unet) | ldm_names.vae(pipe.vae) | text


def sd2(pipe: Any) -> State:
    text = ldm_names.open_clip(pipe.text_encoder, "cond_stage_model.model.")
    last = {name.replace("blocks.2.", "blocks.3."): value for name, value in text.items() if "blocks.2." in name}
    return ldm_names.unet(pipe.unet) | ldm_names.vae(pipe.vae) | text | last


def sdxl(pipe: Any) -> State:
    text = ldm_names.clip(pipe.text_encoder, "conditioner.embedders.0.transformer.")
    text |= ldm_names.open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    return ldm_names.unet(pipe.unet) | ldm_names.vae(pipe.vae) | text


def refiner(pipe: Any) -> State:
    text = ldm_names.open_clip(pipe.text_encoder_2, "conditioner.embedders.0.model.")
    return ldm_names.unet(pipe.unet) | ldm_names.vae(pipe.vae) | text


LINEAR = {"use_linear_projection": True}
CASES: dict[str, tuple[Callable[[Path], Any], Callable[[Any], State], dict[str, Any]]] = {
    "sd1": (test_foreign_sd.pipe, sd1, {}),
    "sd1-inpaint": (lambda folder: test_foreign_sd.pipe(folder, in_channels=9), sd1, {}),
    "sd2": (lambda folder: test_foreign_sd.pipe(folder, "v_prediction", **LINEAR), sd2, {"prediction_type": "v"}),
    "sdxl": (test_foreign_sdxl.pipe, sdxl, {}),
    "refiner": (lambda folder: test_foreign_sdxl.pipe(folder, refiner=True), refiner, {}),
}


def written(tensors: State, path: Path) -> Path:
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_one_file_equals_the_folder(tmp_path: Path, case: str) -> None:
    make, name, more = CASES[case]
    pipe = make(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    file = written(name(pipe), tmp_path / "model.safetensors")
    one, whole = unnoise.load(file, components=folder, **more), unnoise.load(folder)
    assert (one.card.family, one.denoiser.kind) == (whole.card.family, whole.denoiser.kind)
    for role, net in whole.networks().items():
        state = one.networks()[role].state_dict()
        assert state.keys() == net.state_dict().keys()
        for tensor, value in net.state_dict().items():
            assert torch.equal(state[tensor], value), tensor
    assert one.card.fingerprint == whole.card.fingerprint


@pytest.mark.parametrize("case", ["sd1", "sdxl"])
def test_one_file_is_enough_for_the_networks(tmp_path: Path, case: str) -> None:
    make, name, more = CASES[case]
    pipe = make(tmp_path)
    ours = unnoise.load(written(name(pipe), tmp_path / "model.safetensors"), **more)
    for tensor, value in pipe.unet.state_dict().items():
        assert torch.equal(ours.denoiser.net.state_dict()[f"unet.{tensor}"], value), tensor
    assert ours.space.affine.scale == (pytest.approx(1 / {"sd1": 0.18215, "sdxl": 0.13025}[case]),)
    with pytest.raises(InputError, match=r"no tokenizer, and none was found on this machine.*--components FOLDER"):
        ours.generate("a cat", size=64)


def test_a_file_states_its_prediction_type(tmp_path: Path) -> None:
    pipe = test_foreign_sdxl.pipe(tmp_path)
    tensors = sdxl(pipe) | {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    ours = unnoise.load(written(tensors, tmp_path / "model.safetensors"))
    assert ours.denoiser.kind == "v"
    assert ours.denoiser.process.sigma_max == float("inf")


def test_a_prediction_type_without_evidence_must_be_set(tmp_path: Path) -> None:
    pipe = test_foreign_sd.pipe(tmp_path, "v_prediction", use_linear_projection=True)
    file = written(sd2(pipe), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="do not say whether it predicts eps or v; set --prediction-type eps"):
        unnoise.load(file)


def test_a_network_whose_output_is_the_noise_predicts_eps(tmp_path: Path) -> None:
    pipe = test_foreign_sd.pipe(tmp_path, use_linear_projection=True)
    assert not predicts_eps(pipe.unet)
    forward = pipe.unet.forward
    pipe.unet.forward = lambda x, *a, **how: (0.9 * x + 0.1 * forward(x, *a, **how)[0],)
    assert predicts_eps(pipe.unet)
    assert probe_prediction("sd2", "", None, {"unet": pipe.unet}) == "eps"
    assert probe_prediction("sd2", "v", None, {}) == "v"
    assert probe_prediction("sd2", "", "v_prediction", {}) == ""
    assert probe_prediction("sd1", "", None, {}) == ""


def test_missing_components_are_named(tmp_path: Path) -> None:
    pipe = test_foreign_sd.pipe(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    tensors = sd1(pipe)
    no_text = {name: value for name, value in tensors.items() if not name.startswith("cond_stage")}
    file = written(no_text | {"cond_stage_model.transformer.x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="has no text_encoder, which sd1 needs; it has unet, vae"):
        unnoise.load(file)
    assert unnoise.load(file, components=folder).generate("a cat", size=64, steps=2, seed=1)
    missing = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    file = written({name: value for name, value in tensors.items() if name != missing}, tmp_path / "y.safetensors")
    with pytest.raises(InputError, match=r"unet: missing tensors: 1 of \d+: mid_block\.resnets\.0\.conv1\.weight"):
        unnoise.load(file, components=folder)
    other = peers.saved(test_foreign_sdxl.pipe(tmp_path), tmp_path / "xl")
    with pytest.raises(InputError, match=r"components .*: of sdxl base; .* is sd1"):
        unnoise.load(file, components=other)


@pytest.mark.parametrize(
    ("family", "count"),
    [("sd1", 859_520_964), ("sd2", 865_910_724), ("sdxl", 2_567_463_684), ("refiner", 2_259_526_660)],
)
def test_published_sizes_are_read_off_their_shapes(family: str, count: int) -> None:
    from unnoise.families.identity import Identity

    wide = {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "sample_size": 64}
    linear = {"use_linear_projection": True}
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    base = {
        "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": (5, 10, 20),
    }  # fmt: skip
    small = {
        "block_out_channels": (384, 768, 1536, 1536), "transformer_layers_per_block": 4, "cross_attention_dim": 1280,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (6, 12, 24, 24),
    }  # fmt: skip
    configs: dict[str, dict[str, Any]] = {
        "sd1": {**wide, "cross_attention_dim": 768, "attention_head_dim": 8},
        "sd2": {**wide, **linear, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20)},
        "sdxl": {**base, **linear, **added, "projection_class_embeddings_input_dim": 2816},
        "refiner": {**small, **linear, **added, "projection_class_embeddings_input_dim": 2560},
    }
    net = empty("UNet2DConditionModel", configs[family], "published")
    assert sum(value.numel() for value in net.parameters()) == count
    named = {"refiner": Identity("sdxl", "refiner")}.get(family, Identity(family))
    cut = unet(ldm_names.unet(net), named, "published", 1280 if "x" in family or family == "refiner" else 0)
    again = empty(cut.class_, cut.config, "published")
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in net.state_dict().items()
    }
    heads = [
        [module.heads for module in each.modules() if type(module).__name__ == "Attention"] for each in (net, again)
    ]
    assert heads[0] == heads[1]
