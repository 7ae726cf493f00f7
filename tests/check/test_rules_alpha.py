"""UN619 and UN621: alphas and ranks of a LoRA that are lost or contradict each other."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers.utils.peft_utils import get_peft_kwargs
from safetensors.torch import save_file

from unnoise.check.catalogue import entry
from unnoise.check.engine import check, run_rule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN

LAYERS = [f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn{i}_to_k" for i in (1, 2)]
TRAINED = {"ss_network_module": "networks.lora", "ss_network_dim": "8", "ss_network_alpha": "4.0"}


def found(path: Path) -> list[tuple[int, str, str]]:
    return [(one.grade, one.measured, one.expected) for one in check(path, select=["UN619"])]


def kohya(path: Path, alphas: Mapping[int, float], metadata: Mapping[str, str], rank: int = 8) -> Path:
    tensors = {}
    for at, layer in enumerate(LAYERS):
        tensors[f"{layer}.lora_down.weight"] = torch.ones(rank, 320 if at == 0 else 768)
        tensors[f"{layer}.lora_up.weight"] = torch.ones(320, rank)
        if at in alphas:
            tensors[f"{layer}.alpha"] = torch.tensor(alphas[at])
    save_file(tensors, path, dict(metadata))
    return path


BOTH = {0: 4.0, 1: 4.0}
KOHYA = [
    (BOTH, TRAINED, []),
    ({}, TRAINED, [(WARN, "no alphas, so 1", "4/8 = 0.5 by the metadata")]),
    ({0: 1.0, 1: 1.0}, TRAINED, [(NOTE, "1/8 = 0.125", "4/8 = 0.5 by the metadata")]),
    ({0: 4.0}, TRAINED | {"ss_network_dim": "Dynamic"}, [(WARN, "1 in 1 layers", "0.5, as in 1")]),
    ({0: 8.0}, TRAINED | {"ss_network_dim": "Dynamic"}, []),
    ({}, {}, []),
    ({}, TRAINED | {"ss_network_module": "lycoris.kohya"}, []),
    ({}, TRAINED | {"ss_network_args": '{"block_dims": "4,4"}'}, []),
    (BOTH, TRAINED | {"ss_network_alpha": "nan"}, []),
]


@pytest.mark.parametrize(("alphas", "metadata", "expected"), KOHYA)
def test_files_of_kohya(
    tmp_path: Path, alphas: Mapping[int, float], metadata: Mapping[str, str], expected: list[tuple[int, str, str]]
) -> None:
    assert found(kohya(tmp_path / "a.safetensors", alphas, metadata)) == expected


@pytest.mark.parametrize(("stated", "count"), [({"unet.r": 4}, 0), ({"unet.r": 16}, 1), ({"text_encoder.r": 16}, 0),
                                               ({"unet.r": 16, "unet.rank_pattern": {"to_k": 4}}, 0)])  # fmt: skip
def test_files_of_diffusers(tmp_path: Path, stated: Mapping[str, object], count: int) -> None:
    block = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {f"{block}.lora_A.weight": torch.ones(4, 768), f"{block}.lora_B.weight": torch.ones(320, 4)}
    save_file(tensors, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(stated)})
    assert len(found(tmp_path / "a.safetensors")) == count


@pytest.mark.parametrize("text", ["[]", "{", '{"unet": 1}', '{"unet.r": "x"}'])
def test_metadata_that_are_not_settings(tmp_path: Path, text: str) -> None:
    assert found(kohya(tmp_path / "a.safetensors", BOTH, {"lora_adapter_metadata": text})) == []


SCRIPT = """
from diffusers import StableDiffusionXLPipeline
from peft import LoraConfig
parser.add_argument("--rank", type=int, default=64)
args = parser.parse_args()
unet.add_adapter(LoraConfig(r={r}, lora_alpha={alpha}, init_lora_weights="gaussian"))
StableDiffusionXLPipeline.save_lora_weights(out, unet_lora_layers=layers{more})
"""
SAVED = [
    ("16", "32", "", ["0.5 of the strength of training"]),
    ("args.rank", "16", "", ["4 of the strength of training"]),
    ("args.rank", "args.rank", "", []),
    ("16", "16", "", []),
    ("16", "alpha", "", []),
    ("16", "32", ", unet_lora_adapter_metadata=metadata", []),
    ("16", "32", ", **_collate_lora_metadata(parts)", []),
]


@pytest.mark.parametrize(("r", "alpha", "more", "expected"), SAVED)
def test_scripts_that_save_without_alpha(r: str, alpha: str, more: str, expected: list[str]) -> None:
    subject = script(SCRIPT.format(r=r, alpha=alpha, more=more))
    assert not subject.faults
    assert [one.measured for one in run_rule(entry("UN621"), subject)] == expected


def test_diffusers_takes_the_rank_for_a_missing_alpha() -> None:
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    loaded = get_peft_kwargs({f"{layer}.lora_B.weight": 16}, None, {f"{layer}.lora_B.weight": torch.ones(320, 16)})
    assert (loaded["r"], loaded["lora_alpha"]) == (16, 16)
