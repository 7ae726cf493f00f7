"""UN517 and UN519: learning rates of a LoRA training, in commands, TOML and the metadata of trained files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unnoise.check.engine import check
from unnoise.check.rule import NOTE, WARN

SD1 = "accelerate launch train_network.py --pretrained_model_name_or_path base.safetensors --dataset_config d.toml "
SD1 += "--network_module networks.lora "
# Published: sd-scripts, docs/train_network.md; kohya_ss, presets/lora; diffusers, examples/dreambooth
PUBLISHED = [
    SD1 + "--network_dim=16 --network_alpha=1 --learning_rate=1e-4 --optimizer_type=AdamW8bit",
    SD1 + "--network_dim 128 --network_alpha 128 --unet_lr 2e-4 --text_encoder_lr 5e-5 --learning_rate 1e-4",
    SD1 + "--network_dim 32 --network_alpha 32 --learning_rate 2e-5 --text_encoder_lr 2e-5",
    SD1 + "--network_dim 32 --network_alpha 1 --unet_lr 1.0 --text_encoder_lr 1.0 --optimizer_type Prodigy",
    SD1 + "--network_dim 128 --network_alpha 1 --unet_lr 9e-4 --text_encoder_lr 9e-4 --optimizer_type Adafactor",
    SD1 + "--network_dim 64 --network_alpha 64 --unet_lr 4e-7 --optimizer_type Adafactor",
    SD1 + "--network_dim 64 --network_alpha 32 --unet_lr 0 --text_encoder_lr 1e-4 --network_train_text_encoder_only",
    "python train_dreambooth_lora_sdxl_advanced.py --pretrained_model_name_or_path x/y --rank 8 --learning_rate=1e-4 "
    "--text_encoder_lr 3e-4 --train_text_encoder_ti --instance_data_dir d",
    "python train_text_to_image.py --pretrained_model_name_or_path x/y --learning_rate=1e-7 --dataset_name d",
]
FAR = {
    "alpha 1 at rank 128": ("UN517", "--network_dim 128 --network_alpha 1 --unet_lr 3e-4 --text_encoder_lr 5e-5",
                            "0.0003 * 0.00781 = 2.3e-06"),
    "alpha by default": ("UN517", "--network_dim 128 --learning_rate 1e-4", "0.0001 * 0.00781 = 7.8e-07"),
    "a rate of the text of a formula": ("UN517", "--network_dim 8 --network_alpha 8 --learning_rate 1e-2",
                                        "0.01 * 1 = 0.01"),
    "text encoder": ("UN519", "--network_dim 128 --network_alpha 64 --unet_lr 5e-5 --text_encoder_lr 5e-3 "
                     "--use_8bit_adam", "0.005, 100 times 5e-05"),
    "one of two text encoders": ("UN519", "--network_dim 16 --network_alpha 8 --learning_rate 1e-4 "
                                 "--text_encoder_lr 1e-5 1e-3", "0.001, 10 times 0.0001"),
}  # fmt: skip


def found(path: Path) -> list[tuple[str, int, str]]:
    return [(one.rule.id, one.grade, one.measured) for one in check(path, select=["UN517", "UN519"])]


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_trainings(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.sh").write_text(text)
    assert found(tmp_path / "a.sh") == []


@pytest.mark.parametrize("name", FAR)
def test_rates_far_from_those(tmp_path: Path, name: str) -> None:
    rule, text, measured = FAR[name]
    (tmp_path / "a.sh").write_text(SD1 + text)
    assert found(tmp_path / "a.sh") == [(rule, WARN, measured)]
    (tmp_path / "b.sh").write_text(SD1 + text + " --optimizer_type prodigy")
    assert found(tmp_path / "b.sh") == []


@pytest.mark.parametrize("more", ["loraplus_lr_ratio=16", "block_dims=4,4"])
def test_arguments_that_change_rates_or_ranks(tmp_path: Path, more: str) -> None:
    (tmp_path / "a.sh").write_text(SD1 + f"--network_dim 128 --unet_lr 1e-4 --network_args {more}")
    assert found(tmp_path / "a.sh") == []


def test_metadata_of_a_trained_file(tmp_path: Path) -> None:
    block = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{block}.lora_down.weight": torch.ones(128, 768), f"{block}.lora_up.weight": torch.ones(640, 128)}
    metadata = {"ss_network_module": "networks.lora", "ss_network_dim": "128", "ss_network_alpha": "1.0"}
    metadata |= {"ss_unet_lr": "0.0003", "ss_text_encoder_lr": "0.003", "ss_optimizer": "torch.optim.adamw.AdamW"}
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    assert [one[:2] for one in found(tmp_path / "a.safetensors")] == [("UN517", NOTE), ("UN519", NOTE)]
    save_file(tensors, tmp_path / "b.safetensors", metadata | {"ss_optimizer": "prodigyopt.prodigy.Prodigy(d0=1)"})
    assert found(tmp_path / "b.safetensors") == []


def test_a_step_of_adam_moves_a_weight_in_proportion_to_the_product() -> None:
    """UN517: the change of a weight after one step from a new LoRA is rate * alpha/rank * the sum of |down|."""
    moved = []
    for rate, alpha in ((1e-3, 1.0), (1e-3, 4.0), (4e-3, 1.0)):
        down, up = torch.full((4, 8), 0.5), torch.nn.Parameter(torch.zeros(8, 4))
        optimizer = torch.optim.AdamW([up], lr=rate, weight_decay=0.0)
        (up @ down * alpha / 4).sum().backward()
        optimizer.step()
        moved.append((up @ down * alpha / 4).abs().max().item())
    assert moved[1] / moved[0] == pytest.approx(4, rel=1e-3)
    assert moved[2] / moved[0] == pytest.approx(4, rel=1e-3)
