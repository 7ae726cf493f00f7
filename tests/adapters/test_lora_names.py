"""Every layer of every family is found under every name that files use, and fused layers are split.

The original names are those of the tests of single files, which diffusers' own converters confirm.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers.loaders.single_file_utils import (
    convert_ltx_transformer_checkpoint_to_diffusers,
    convert_wan_transformer_to_diffusers,
)
from integrations import (
    ldm_names,
    maker_names,
    test_foreign_flux,
    test_foreign_ltx,
    test_foreign_pixart,
    test_foreign_sana,
    test_foreign_sd,
    test_foreign_sd3,
    test_foreign_sdxl,
    test_foreign_stable_audio,
    test_foreign_wan,
)
from torch import Tensor, nn

from unnoise.adapters.lora import layouts
from unnoise.adapters.lora.names import Names
from unnoise.adapters.lora.targets import layers, norms

PIPES: dict[str, Callable[[Path], Any]] = {
    "sd1": test_foreign_sd.pipe,
    "sd2": lambda folder: test_foreign_sd.second(folder, "epsilon"),
    "sdxl": test_foreign_sdxl.pipe,
    "sd3": test_foreign_sd3.pipe,
    "flux1": test_foreign_flux.pipe,
    "pixart": lambda _: test_foreign_pixart.pipe(alpha=False),
    "sana": lambda _: test_foreign_sana.pipe(),
    "wan": lambda _: test_foreign_wan.pipe(),
    "ltx": lambda _: test_foreign_ltx.pipe(),
    "stable-audio": lambda _: test_foreign_stable_audio.pipe(),
}
ORIGINAL: dict[str, Callable[[Any], dict[str, Tensor]]] = {
    "sd1": lambda net: ldm_names.unet(net),
    "sd2": lambda net: ldm_names.unet(net),
    "sdxl": lambda net: ldm_names.unet(net),
    "sd3": lambda net: maker_names.sd3(net.state_dict()),
    "flux1": lambda net: maker_names.flux(net.state_dict()),
    "pixart": lambda net: maker_names.pixart(net.state_dict()),
    "sana": lambda net: maker_names.sana(net.state_dict()),
}
TEXTS = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_", "text_encoder_3": "lora_te3_"}


def roots_of(pipe: Any) -> dict[str, nn.Module]:
    names = ("unet", "transformer", "transformer_2", *TEXTS)
    return {name: net for name in names if isinstance(net := getattr(pipe, name, None), nn.Module)}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("family", PIPES)
def test_every_layer_is_found_under_every_name_of_diffusers(tmp_path: Path, family: str) -> None:
    roots = roots_of(PIPES[family](tmp_path))
    names = Names(roots, family)
    for root, net in roots.items():
        for path, _ in layers(net):
            wanted = (root, path)
            starts = {f"{root}.", f"base_model.model.{root}."}
            if root in ("unet", "transformer"):
                starts |= {"", "lora_unet_", "lora_transformer_", "diffusion_model."}
            plain = path.replace(".", "_")
            for start in starts:
                for target in names.targets(start + (plain if start.endswith("_") else path)):
                    assert (target.root, target.layer) == wanted, start
                assert names.targets(start + (plain if start.endswith("_") else path)), (start, path)
            if root in TEXTS:
                for words in ("", "text_model_") if "encoder_layers" in plain else ("",):
                    (target,) = names.targets(TEXTS[root] + words + plain.removeprefix("text_model_"))
                    assert (target.root, target.layer) == wanted


def test_old_names_of_attention_are_found(tmp_path: Path) -> None:
    roots = roots_of(test_foreign_sd.pipe(tmp_path))
    names = Names(roots, "sd1")
    block = "mid_block.attentions.0.transformer_blocks.0.attn1"
    assert names.targets(f"unet.{block}.processor.to_q")[0].layer == f"{block}.to_q"
    assert names.targets(f"unet.{block}.processor.to_out")[0].layer == f"{block}.to_out.0"
    (target,) = names.targets("text_encoder.text_model.encoder.layers.0.self_attn.q_proj")
    assert target.layer.endswith("encoder.layers.0.self_attn.q_proj")
    assert target.root == "text_encoder"


@pytest.mark.parametrize("family", ORIGINAL)
def test_original_names_lead_to_the_original_weights(tmp_path: Path, family: str) -> None:
    """The original tensor, split as `targets` says, is the network's own, and no two layers have the same numbers."""
    roots = roots_of(PIPES[family](tmp_path))
    net = next(net for root, net in roots.items() if root in ("unet", "transformer"))
    own = dict(layers(net))
    names, found = Names(roots, family), set()
    for name, tensor in ORIGINAL[family](net).items():
        stem = name.removesuffix(".weight").removeprefix("model.diffusion_model.")
        if not name.endswith(".weight") or tensor.ndim < 2:
            continue
        for start in ("lora_unet_", "diffusion_model."):
            targets = names.targets(start + (stem.replace(".", "_") if start.endswith("_") else stem))
            for target in targets:
                first, last, of = target.rows or (0, len(tensor), len(tensor))
                weight: Tensor = own[target.layer].weight  # type: ignore[assignment]
                assert of == len(tensor)
                assert torch.equal(tensor[torch.arange(first, last) % of].reshape(weight.shape), weight), name
                found.add(target.layer)
    assert set(own) == found, sorted(set(own) - found)[:5]


@pytest.mark.parametrize(
    ("family", "convert"),
    [("wan", convert_wan_transformer_to_diffusers), ("ltx", convert_ltx_transformer_checkpoint_to_diffusers)],
)
def test_original_names_are_those_that_diffusers_converts(tmp_path: Path, family: str, convert: Any) -> None:
    net = PIPES[family](tmp_path).transformer
    own, names = dict((*layers(net), *norms(net))), Names({"transformer": net}, family)
    fewer = {name: parts for name, parts in layouts.fused(net, family) if ".1." not in name}
    assert len(fewer) >= len(layouts.TABLES[family]) - 4  # those of images, which a text to video model lacks
    for name, parts in fewer.items():
        ((path, _),) = parts
        tensor = own[path].weight
        (converted,) = convert({f"{name}.weight": tensor})
        assert converted == f"{path}.weight"
        assert names.targets(f"diffusion_model.{name}")[0].layer == path


def test_own_models() -> None:
    pipeline = tiny.pipeline()
    names = Names(pipeline.adaptable(), "unnoise")
    for root, net in pipeline.adaptable().items():
        for path, _ in layers(net):
            kohya = ("lora_unet_" if root == "net" else "lora_te_") + path.replace(".", "_")
            for name in (f"{root}.{path}", kohya):
                assert [(target.root, target.layer) for target in names.targets(name)] == [(root, path)]


def test_what_is_no_layer_has_no_place() -> None:
    names = Names(tiny.pipeline().adaptable(), "unnoise")
    for name in ("unet.down.0", "lora_te2_layers_0_mix_to_q", "", "net.", "lora_unet_", "nothing"):
        assert names.targets(name) == ()
