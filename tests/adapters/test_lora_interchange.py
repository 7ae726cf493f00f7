"""Files of PEFT, diffusers, kohya and LyCORIS are read as defined, and diffusers and PEFT read ours in the same way.

Ranks and alphas differ within every file, so that one number for all layers fails.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters.test_lora_names import PIPES
from diffusers.utils import convert_state_dict_to_diffusers
from integrations import ldm_names, maker_names, peers, test_foreign_flux, test_foreign_sd, test_foreign_sd3
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

import unnoise
from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.adapters.lora.read import Adapter, layers_of, read
from unnoise.adapters.lora.write import write
from unnoise.pipeline import Pipeline

TEXTS = ("text_encoder", "text_encoder_2")
WITHOUT = ("pixart", "stable-audio")  # families for which diffusers writes no adapters
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*alpha_pattern keys did not match.*:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Already found a .peft_config. attribute.*:UserWarning"),
]


def config(dora: bool = False, **more: Any) -> LoraConfig:
    """Adapt attention, feed-forward and convolutions; to_k has another rank and to_v another alpha."""
    targets = ["to_q", "to_k", "to_v", "to_out.0", "proj_out", "ff.net.0.proj", "ff.net.2"]
    return LoraConfig(
        r=4, lora_alpha=8, target_modules=targets, rank_pattern={"to_k": 6}, alpha_pattern={"to_v": 3}, use_dora=dora,
        **more,
    )  # fmt: skip


def text_config() -> LoraConfig:
    return LoraConfig(r=3, lora_alpha=2, target_modules=["q_proj", "out_proj", "fc1"], rank_pattern={"fc1": 5})


def denoiser(pipe: Any) -> tuple[str, nn.Module]:
    return next((name, getattr(pipe, name)) for name in ("unet", "transformer") if hasattr(pipe, name))


def randomised(net: nn.Module) -> nn.Module:
    """Give an adapter of PEFT random weights, also where they start at zero."""
    for name, parameter in net.named_parameters():
        if "lora_" in name or "hada_" in name or "lokr_" in name:
            nn.init.normal_(parameter, std=0.1 if "lora_" in name else 0.5)
        if "magnitude" in name:
            parameter.data.mul_(1.3)
    return net


def changes(net: nn.Module) -> dict[str, Tensor]:
    """Return what PEFT adds to each layer."""
    found = {}
    for name, module in net.named_modules():
        if hasattr(module, "get_delta_weight"):
            found[name.removeprefix("base_model.model.")] = module.get_delta_weight(module.active_adapters[0]).detach()
    return found


def assert_same_changes(pipeline: Pipeline, adapter: Adapter, root: str, expected: Mapping[str, Tensor]) -> None:
    """Compare every change of a root with the reference, and check that none is missing."""
    own = {name.partition(".")[2]: delta for name, delta in adapter.deltas.items() if name.startswith(f"{root}.")}
    assert own.keys() == expected.keys()
    held = layers_of(pipeline, adapter.deltas)
    for name, change in expected.items():
        ours = own[name].change(held[f"{root}.{name}"].weight)
        assert (ours - change).abs().max() <= 1e-4 * max(1.0, float(change.abs().max())), name
        assert change.abs().max() > 1e-3, "a zero change tests nothing"


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("family", [family for family in PIPES if family not in WITHOUT])
def test_both_ways_with_diffusers(tmp_path: Path, family: str) -> None:
    """Files of diffusers are read here and ours by diffusers: all denoisers, and text encoders if supported."""
    torch.manual_seed(0)
    peer = PIPES[family](tmp_path)
    model = peers.saved(peer, tmp_path / "model")
    root, net = denoiser(peer)
    net.add_adapter(config())
    layers = {f"{root}_lora_layers": get_peft_model_state_dict(randomised(net))}
    metadata = {f"{root}_lora_adapter_metadata": net.peft_config["default"].to_dict()}
    texts = [name for name in TEXTS if family in ("sd1", "sd2", "sdxl") and getattr(peer, name, None) is not None]
    for name in texts:
        text = getattr(peer, name)
        inject_adapter_in_model(text_config(), text)
        state = {key.replace(".default.", "."): value for key, value in randomised(text).state_dict().items()}
        state = {key: value for key, value in state.items() if "lora_" in key}
        layers[f"{name}_lora_layers"] = convert_state_dict_to_diffusers(state)
        metadata[f"{name}_lora_adapter_metadata"] = text_config().to_dict()
    peer.save_lora_weights(tmp_path / "theirs", **layers, **metadata)
    pipeline = unnoise.load(model)
    adapter = read(tmp_path / "theirs" / "pytorch_lora_weights.safetensors", pipeline)
    assert all("larger than the layers that it changes" in note for note in adapter.notes)  # the layers are tiny
    for name in (root, *texts):
        assert_same_changes(pipeline, adapter, name, changes(getattr(peer, name)))

    write(
        tmp_path / "ours.safetensors", replace(adapter, about=LoraCard(base_from(pipeline.card))), "peft", torch.float32
    )
    again = type(peer).from_pretrained(model)
    again.load_lora_weights(str(tmp_path), weight_name="ours.safetensors")
    for name in (root, *texts):
        found = changes(getattr(again, name))
        expected = changes(getattr(peer, name))
        assert found.keys() == expected.keys()
        assert all(torch.allclose(found[key], expected[key], atol=1e-5) for key in expected)


@pytest.mark.parametrize("start", ["lora_unet_", "diffusion_model."])
@pytest.mark.parametrize("family", ["sd1", "sdxl", "flux1", "sd3", "pixart", "sana"])
def test_original_names_change_the_original_layers(tmp_path: Path, family: str, start: str) -> None:
    """A change of each original weight, split by `read`, is the change of the original network."""
    generator = torch.Generator().manual_seed(1)
    peer = PIPES[family](tmp_path)
    root, net = denoiser(peer)
    whole = ORIGINAL[family](net)
    file: dict[str, Tensor] = {}
    expected: dict[str, Tensor] = {}
    for k, (name, tensor) in enumerate(whole.items()):
        stem = name.removesuffix(".weight").removeprefix("model.diffusion_model.")
        if not name.endswith(".weight") or tensor.ndim < 2 or "depth_conv" in name:
            continue
        rank, alpha = 2 + k % 3, 1.0 + k % 5
        down = torch.randn(rank, *tensor.shape[1:], generator=generator)
        up = torch.randn(len(tensor), rank, *[1] * (tensor.ndim - 2), generator=generator)
        plain = start + (stem.replace(".", "_") if start.endswith("_") else stem)
        halves = ("lora_down", "lora_up") if start.endswith("_") else ("lora_A", "lora_B")
        file |= {f"{plain}.{halves[0]}.weight": down, f"{plain}.{halves[1]}.weight": up}
        file[f"{plain}.alpha"] = torch.tensor(alpha)
        expected[name] = (alpha / rank * up.flatten(1) @ down.flatten(1)).reshape(tensor.shape)
    save_file(file, tmp_path / "maker.safetensors")
    pipeline = unnoise.load(peers.saved(peer, tmp_path / "model"))
    adapter = read(tmp_path / "maker.safetensors", pipeline)
    held = layers_of(pipeline, adapter.deltas)
    with torch.no_grad():
        for name, delta in adapter.deltas.items():
            held[name].weight.add_(delta.change(held[name].weight))
    merged = ORIGINAL[family](pipeline.diffusers_networks[root])
    for name, change in expected.items():
        assert torch.allclose(merged[name], whole[name] + change, atol=1e-4), name


ORIGINAL = {
    "sd1": ldm_names.unet,
    "sdxl": ldm_names.unet,
    "sd3": lambda net: maker_names.sd3(net.state_dict()),
    "flux1": lambda net: maker_names.flux(net.state_dict()),
    "pixart": lambda net: maker_names.pixart(net.state_dict()),
    "sana": lambda net: maker_names.sana(net.state_dict()),
}


@pytest.mark.parametrize("kind", ["lora", "dora", "rslora", "loha", "lokr", "lokr-whole", "lokr-both"])
def test_files_of_peft_are_read(tmp_path: Path, kind: str) -> None:
    """A folder of PEFT, with its configuration next to the file."""
    torch.manual_seed(2)
    peer = test_foreign_sd.pipe(tmp_path)
    pipeline = unnoise.load(peers.saved(peer, tmp_path / "model"))
    targets = ["to_q", "to_k", "conv1"]
    made = {
        "lora": config(), "dora": config(dora=True), "rslora": config(use_rslora=True),
        "loha": LoHaConfig(r=3, alpha=2, target_modules=targets, rank_pattern={"to_k": 2}),
        "lokr": LoKrConfig(r=2, alpha=3, target_modules=targets, decompose_both=True),
        "lokr-whole": LoKrConfig(r=64, alpha=64, target_modules=targets),
        "lokr-both": LoKrConfig(r=1, alpha=3, target_modules=targets, decompose_both=True, decompose_factor=4),
    }[kind]  # fmt: skip
    wrapped = randomised(get_peft_model(peer.unet, made))
    wrapped.save_pretrained(tmp_path / "peft")  # type: ignore[operator]
    adapter = read(tmp_path / "peft" / "adapter_model.safetensors", pipeline)
    x, t, h = torch.randn(1, 4, 8, 8), torch.tensor([300.0]), torch.randn(1, 7, 32)
    if kind != "dora":
        assert_same_changes(pipeline, adapter, "unet", changes(wrapped))
    with torch.no_grad():
        theirs = wrapped(x, t, h).sample
        plain = pipeline.diffusers_networks["unet"](x, t, h).sample
        with ActiveAdapters(pipeline, [(adapter, 1.0)]).on():
            ours = pipeline.diffusers_networks["unet"](x, t, h).sample
    peers.assert_close(ours, theirs)
    assert (ours - plain).abs().max() > 0.01


def test_diffusers_reads_our_kohya_files_with_one_alpha(tmp_path: Path) -> None:
    """Diffusers applies the commonest alpha to every attention layer, so our files have only one."""
    torch.manual_seed(3)
    peer = test_foreign_sd.pipe(tmp_path)
    model = peers.saved(peer, tmp_path / "model")
    peer.unet.add_adapter(config())
    randomised(peer.unet)
    state = {f"unet.{name}": value for name, value in get_peft_model_state_dict(peer.unet).items()}
    settings = {f"unet.{name}": value for name, value in peer.unet.peft_config["default"].to_dict().items()}
    plain = {name: value if not isinstance(value, set) else sorted(value) for name, value in settings.items()}
    save_file(state, tmp_path / "theirs.safetensors", {"lora_adapter_metadata": json.dumps(plain, default=str)})
    pipeline = unnoise.load(model)
    adapter = read(tmp_path / "theirs.safetensors", pipeline)
    write(tmp_path / "ours.safetensors", adapter, "kohya", torch.float32)
    again = type(peer).from_pretrained(model)
    again.load_lora_weights(str(tmp_path), weight_name="ours.safetensors")
    expected, found = changes(peer.unet), changes(again.unet)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_alphas_are_read_by_module_where_diffusers_applies_one_to_all(tmp_path: Path) -> None:
    """The fault is in diffusers: this test shows where, and that we follow the definition."""
    peer = test_foreign_sd.pipe(tmp_path)
    model = peers.saved(peer, tmp_path / "model")
    pipeline = unnoise.load(model)
    layers = [name for name in dict(peer.unet.named_modules()) if name.endswith(("attn1.to_q", "attn1.to_k"))]
    file, alphas = {}, {}
    generator = torch.Generator().manual_seed(4)
    for k, layer in enumerate(layers):
        weight = peer.unet.get_submodule(layer).weight
        stem, alphas[layer] = f"lora_unet_{layer.replace('.', '_')}", 4.0 if k else 1.0
        file[f"{stem}.lora_down.weight"] = torch.randn(4, weight.shape[1], generator=generator)
        file[f"{stem}.lora_up.weight"] = torch.randn(len(weight), 4, generator=generator)
        file[f"{stem}.alpha"] = torch.tensor(alphas[layer])
    save_file(file, tmp_path / "mixed.safetensors")
    adapter = read(tmp_path / "mixed.safetensors", pipeline)
    held = layers_of(pipeline, adapter.deltas)
    right = {}
    for layer in layers:
        stem = f"lora_unet_{layer.replace('.', '_')}"
        right[layer] = alphas[layer] / 4 * file[f"{stem}.lora_up.weight"] @ file[f"{stem}.lora_down.weight"]
        ours = adapter.deltas[f"unet.{layer}"].change(held[f"unet.{layer}"].weight)
        assert torch.allclose(ours, right[layer], atol=1e-5)
    again = type(peer).from_pretrained(model)
    again.load_lora_weights(str(tmp_path), weight_name="mixed.safetensors")
    theirs = changes(again.unet)
    assert (theirs[layers[0]] - right[layers[0]]).abs().max() > 0.1, "diffusers has fixed this: update docs/lora.md"


@pytest.mark.parametrize("pipe", [test_foreign_flux.pipe, test_foreign_sd3.pipe])
def test_fused_layers_of_lycoris_are_split(tmp_path: Path, pipe: Any) -> None:
    """LoHa and LoKr of a fused weight: each layer gets its rows of the whole product."""
    peer = pipe(tmp_path)
    pipeline = unnoise.load(peers.saved(peer, tmp_path / "model"))
    name = "double_blocks_0_img_attn_qkv" if pipeline.card.family == "flux1" else "joint_blocks_0_x_block_attn_qkv"
    layer = pipeline.diffusers_networks["transformer"].get_submodule("transformer_blocks.0.attn.to_q").weight
    width, into = 3 * len(layer), layer.shape[1]
    parts = [torch.randn(width, 2), torch.randn(2, into), torch.randn(width, 2), torch.randn(2, into)]
    halves = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    file = {f"lora_unet_{name}.{half}": part for half, part in zip(halves, parts, strict=True)}
    save_file(file | {f"lora_unet_{name}.alpha": torch.tensor(1.0)}, tmp_path / "loha.safetensors")
    adapter = read(tmp_path / "loha.safetensors", pipeline)
    whole = 0.5 * (parts[0] @ parts[1]) * (parts[2] @ parts[3])
    for k, part in enumerate(("to_q", "to_k", "to_v")):
        found = adapter.deltas[f"transformer.transformer_blocks.0.attn.{part}"].change(layer)
        assert torch.allclose(found, whole[k * len(layer) : (k + 1) * len(layer)], atol=1e-5)
