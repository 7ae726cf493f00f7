"""Rules of training on files as people write them, and the faults that they describe in the installed libraries."""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from diffusers.training_utils import EMAModel, compute_snr
from safetensors.torch import save_file

from unnoise.check.engine import check
from unnoise.check.rule import NOTE, WARN, Finding
from unnoise.check.rules.training._shared import alphas, alphas_to_zero
from unnoise.train.fit_options import FitOptions

FLUX = "accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors --ae ae.sft "
SDXL = "accelerate launch sdxl_train_network.py --pretrained_model_name_or_path sd_xl_base_1.0.safetensors "
SD2 = "python train_network.py --v2 --pretrained_model_name_or_path v2-1_768-ema-pruned.safetensors "
FULL = "python train_text_to_image_sdxl.py --pretrained_model_name_or_path stabilityai/stable-diffusion-xl-base-1.0 "
FLAT = 'pretrained_model_name_or_path = "sd_xl_base_1.0.safetensors"\noutput_name = "o"\ndataset_config = "d.toml"\n'
LOOP = """
import torch
def train(unet, optimizer, lr_scheduler, batches, accumulation_steps=4):
    for epoch in range(10):
        for i, loss in enumerate(batches):
            (loss / accumulation_steps).backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad(){}
"""
ACCELERATED = """
from diffusers.optimization import get_scheduler
gradient_accumulation_steps = 4
def train(accelerator, optimizer, unet, batches, steps):
    rate = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=0, num_training_steps={})
    for loss in batches:
        with accelerator.accumulate(unet):
            accelerator.backward(loss)
"""
EMA = """
from diffusers.training_utils import EMAModel
class Trainer:
    def __init__(self, unet):
        self.ema = EMAModel(unet.parameters())
    def step(self, optimizer):
        optimizer.step()
        {}
"""
WEIGHT = """
def weigh(loss, snr, gamma, torch):
    return loss * {}
"""
TABLE = """
def schedule(noise_scheduler, device, zero_terminal_snr):
    {}
    {}
"""
MAKE = "prepare_scheduler_for_custom_training(noise_scheduler, device)"
CHANGE = "fix_noise_scheduler_betas_for_zero_terminal_snr(noise_scheduler)"
RECIPE = """
name = "x"
data = {{ source = "x", size = 64 }}
advice = {{ guidance_scale = 2.0, sizes = [[{size}, {size}]] }}
[denoiser]
caption_dropout = {dropout}
fit = {{ steps = 100, warmup = {warmup} }}
"""
SOUND = {"size": 64, "dropout": 0.1, "warmup": 10}

# A rule, the file as it should not be, and as it should.
CASES: Mapping[str, tuple[str, str, str]] = {
    "UN501": ("a.sh", FLUX + "--guidance_scale 1 --timestep_sampling uniform", "--timestep_sampling flux_shift"),
    "UN501 shift": (
        "a.sh",
        FLUX + "--guidance_scale 1 --timestep_sampling shift --discrete_flow_shift 1",
        "--discrete_flow_shift 3.1582",
    ),
    "UN502": ("a.toml", RECIPE.format(**SOUND | {"dropout": 0.0}), RECIPE.format(**SOUND)),
    "UN503": ("a.sh", FLUX + "--timestep_sampling flux_shift", "--guidance_scale=1.0"),
    "UN504": ("a.toml", FLAT + 'mixed_precision = "fp16"', FLAT + 'mixed_precision = "bf16"'),
    "UN504 vae": (
        "a.sh",
        FULL + "--mixed_precision fp16 --proportion_empty_prompts 0.1 "
        "--pretrained_vae_model_name_or_path stabilityai/sdxl-vae",
        "--pretrained_vae_model_name_or_path madebyollin/sdxl-vae-fp16-fix",
    ),
    "UN505": (
        "a.py",
        WEIGHT.format("torch.minimum(snr + 1, gamma) / (snr + 1)"),
        WEIGHT.format("torch.minimum(snr, gamma) / (snr + 1)"),
    ),
    "UN506": ("a.py", TABLE.format(MAKE, CHANGE), TABLE.format(CHANGE, MAKE)),
    "UN506 toml": (
        "a.toml",
        FLAT + "zero_terminal_snr = true\nv_parameterization = true\ndebiased_estimation_loss = true",
        FLAT + "zero_terminal_snr = true\nv_parameterization = true",
    ),
    "UN507": ("a.sh", SD2 + "--dataset_config d.toml", "--v_parameterization"),
    "UN507 eps": ("a.sh", SDXL + "--v_parameterization --dataset_config d.toml", SDXL + "--dataset_config d.toml"),
    "UN508": ("a.sh", SDXL + "--zero_terminal_snr --dataset_config d.toml", "--v_parameterization"),
    "UN511": ("a.py", LOOP.format("\n            lr_scheduler.step()"), LOOP.format("; lr_scheduler.step()")),
    "UN511 accelerate": (
        "a.py",
        ACCELERATED.format("steps * gradient_accumulation_steps"),
        ACCELERATED.format("steps * accelerator.num_processes"),
    ),
    "UN511 recipe": ("a.toml", RECIPE.format(**SOUND | {"warmup": 400}), RECIPE.format(**SOUND)),
    "UN512": ("a.py", EMA.format("pass"), EMA.format("self.ema.step(unet.parameters())")),
    "UN513": ("a.sh", SDXL + "--resolution=256,256 --dataset_config d.toml", "--resolution 1216,832"),
    "UN513 recipe": ("a.toml", RECIPE.format(**SOUND | {"size": 32}), RECIPE.format(**SOUND)),
    "UN514": (
        "a.sh",
        FLUX + "--guidance_scale 1 --timestep_sampling flux_shift --debiased_estimation_loss",
        FLUX + "--guidance_scale 1 --timestep_sampling flux_shift",
    ),
}


def found(path: Path) -> list[Finding]:
    return check(path, select=["UN5"])


@pytest.mark.parametrize("name", CASES)
def test_fires_on_the_fault_and_not_on_its_twin(name: str, tmp_path: Path) -> None:
    file, bad, good = CASES[name]
    path = tmp_path / file
    path.write_text(bad)
    assert {(one.rule.id, one.grade >= WARN) for one in found(path)} == {(name[:5], True)}
    path.write_text(f"{bad} {good}" if good.startswith("--") else good)
    assert found(path) == []


def test_full_training_without_dropout_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_text(FULL + "--resolution=1024")
    assert [(one.rule.id, one.grade) for one in found(path)] == [("UN502", NOTE)]


def test_textual_inversion_has_no_dropout(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    flags = "--pretrained_model_name_or_path sd-v1-4.safetensors --train_data_dir img --resolution 512"
    for script in (f"train_textual_inversion.py {flags} --token_string me", f"train_textual_inversion.py {flags}"):
        path.write_text(f"accelerate launch {script} --mixed_precision fp16\n", encoding="utf-8")
        assert not found(path)


def test_cached_latents_stop_at_nan(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    flags = "--pretrained_model_name_or_path sd_xl_base_1.0.safetensors --dataset_config a.toml --mixed_precision fp16"
    for cached, effect in (("", "are trained as grey images"), (" --cache_latents", "stop the caching")):
        path.write_text(f"accelerate launch sdxl_train_network.py {flags}{cached}\n", encoding="utf-8")
        (one,) = found(path)
        assert (one.rule.id, one.message.endswith(effect)) == ("UN504", True)


def test_data_are_read(tmp_path: Path) -> None:
    cats = tmp_path / "cats"
    cats.mkdir()
    for name in ("1.png", "1.txt", "2.png", "1_0512x0512_sd.npz"):
        (cats / name).touch()
    os.utime(cats / "1_0512x0512_sd.npz", (time.time() - 3600,) * 2)
    path = tmp_path / "data.toml"
    path.write_text(
        "[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = 'cats'\ncaption_extension = '.txt'"
    )
    assert [(one.rule.id, one.measured) for one in found(path)] == [
        ("UN509", "1 of 2 images without, such as 2.png"),
        ("UN510", "1 stale cache, such as 1_0512x0512_sd.npz"),
    ]


def test_metadata_of_a_trained_file_are_read(tmp_path: Path) -> None:
    block = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{block}.lora_down.weight": torch.ones(4, 2048), f"{block}.lora_up.weight": torch.ones(640, 4)}
    tensors[f"{block}.alpha"] = torch.tensor(4.0)
    metadata = {"ss_base_model_version": "sdxl_base_v1-0", "ss_network_module": "networks.lora", "ss_v2": "False"}
    metadata |= {"ss_resolution": "(256, 256)", "ss_caption_dropout_rate": "0.0", "ss_min_snr_gamma": "5.0"}
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path, metadata)
    assert {(one.rule.id, one.grade) for one in found(path)} == {("UN502", NOTE), ("UN513", NOTE)}


def test_alphas_are_those_of_diffusers() -> None:
    table = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert alphas() == pytest.approx(table.alphas_cumprod.tolist(), rel=1e-4)
    zero = torch.cumprod(1 - rescale_zero_terminal_snr(table.betas), 0)
    assert alphas_to_zero() == pytest.approx(zero.tolist(), abs=1e-5)


def test_weights_of_min_snr() -> None:
    """UN505: the numbers of its page, with the SNR of diffusers."""
    table = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    ratio = compute_snr(table, torch.arange(1000))
    wrong, right = (ratio + 1).clamp(max=5) / (ratio + 1), ratio.clamp(max=5) / (ratio + 1)
    assert [wrong[-1].item(), right[-1].item()] == pytest.approx([1.0, 0.0047], abs=5e-5)
    assert [wrong.mean().item(), right.mean().item()] == pytest.approx([0.91, 0.29], abs=5e-3)


def test_average_that_is_never_stepped() -> None:
    """UN512: EMAModel moves in `step` alone."""
    weight = torch.nn.Parameter(torch.zeros(1))
    average = EMAModel([weight])
    weight.data += 1
    assert average.shadow_params[0].item() == 0
    average.step([weight])
    assert average.shadow_params[0].item() != 0


@pytest.mark.parametrize("times", [2, 4, 10])
def test_rate_of_a_schedule_that_is_too_long(times: int) -> None:
    """UN511: where a cosine built for N times the steps ends."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = get_cosine_schedule_with_warmup(optimizer, 0, 20 * times)
    for _ in range(20):
        optimizer.step()
        rate.step()
    assert rate.get_last_lr()[0] == pytest.approx((1 + math.cos(math.pi / times)) / 2)


def test_peak_of_a_recipe() -> None:
    """UN511: the highest rate that the rule computes is the one that the training reaches."""
    fit = FitOptions(steps=100, warmup=400, learning_rate=1.0)
    assert max(map(fit.learning_rate_at, range(100))) == pytest.approx(0.125, abs=5e-3)
