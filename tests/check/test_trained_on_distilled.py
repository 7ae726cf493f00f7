"""UN516: trainings of a LoRA on a base that is distilled to few steps, in commands and scripts."""

from pathlib import Path

import pytest

from unnoise.check.catalogue import entry
from unnoise.check.engine import check, run_rule
from unnoise.check.examples import script
from unnoise.check.rule import Severity

SCRIPT = """
import torch
import torch.nn.functional as F
from diffusers import {class_}
from peft import LoraConfig
pipe = {class_}.from_pretrained("{name}", torch_dtype=torch.bfloat16)
pipe.{net}.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=["to_q", "to_k", "to_v"]))
{more}
for batch in loader:
    loss = F.mse_loss(pipe.{net}(batch.x, batch.t).sample.float(), batch.target.float())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
BASES = [
    ("StableDiffusionXLPipeline", "stabilityai/sdxl-turbo", "unet", True),
    ("StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0", "unet", False),
    ("FluxPipeline", "black-forest-labs/FLUX.1-schnell", "transformer", True),
    ("FluxPipeline", "black-forest-labs/FLUX.1-dev", "transformer", False),
    ("ZImagePipeline", "Tongyi-MAI/Z-Image-Turbo", "transformer", True),
]


def found(text: str) -> list[str]:
    subject = script(text)
    assert not subject.faults
    return [one.measured for one in run_rule(entry("UN516"), subject)]


@pytest.mark.parametrize(("class_", "name", "net", "distilled"), BASES)
def test_scripts(class_: str, name: str, net: str, distilled: bool) -> None:
    text = SCRIPT.format(class_=class_, name=name, net=net, more="pass")
    assert len(found(text)) == distilled
    assert found(text.replace("loss.backward()", "print(loss)")) == []


@pytest.mark.parametrize(
    "more",
    [
        'pipe.load_lora_weights("lab/schnell-training-adapter", adapter_name="undo")',
        'teacher = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev")',
        "scores = reward(images)",
        'guide = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev")',
    ],
)
def test_scripts_that_keep_the_distillation(more: str) -> None:
    name = "black-forest-labs/FLUX.1-schnell"
    assert found(SCRIPT.format(class_="FluxPipeline", name=name, net="transformer", more=more)) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("python train_dreambooth_lora_z_image.py --pretrained_model_name_or_path Tongyi-MAI/Z-Image-Turbo", 1),
        ("python train_dreambooth_lora_z_image.py --pretrained_model_name_or_path Tongyi-MAI/Z-Image --rank 8", 0),
        ("python train_dreambooth_lora_flux2_klein.py --pretrained_model_name_or_path"
         " black-forest-labs/FLUX.2-klein-base-4B", 0),
        ("accelerate launch sdxl_train_network.py --pretrained_model_name_or_path sd_xl_turbo_1.0.safetensors", 1),
        ("accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-schnell.safetensors "
         "--base_weights undo.safetensors", 0),
    ],
)  # fmt: skip
def test_commands(tmp_path: Path, text: str, count: int) -> None:
    (tmp_path / "a.sh").write_text(text)
    assert len(check(tmp_path / "a.sh", select=["UN516"])) == count


def test_example_of_diffusers_is_a_note(tmp_path: Path) -> None:
    """The README of its script for FLUX.2 trains on the distilled klein."""
    text = "accelerate launch train_dreambooth_lora_flux2_klein.py --pretrained_model_name_or_path {}"
    (tmp_path / "a.sh").write_text(text.format("black-forest-labs/FLUX.2-klein-4B"))
    (finding,) = check(tmp_path / "a.sh", select=["UN516"])
    assert finding.grade is Severity.NOTE
