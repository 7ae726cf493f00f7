"""UN127: a scheduler whose training levels are cut to the number of steps, in scripts and folders."""

import json
from pathlib import Path

import pytest
from diffusers import DDIMScheduler

from unnoise.check.catalogue import entry
from unnoise.check.engine import check, run_rule
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, WARN
from unnoise.check.rules.grid._shared import last_level

SD1 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
UNET = f'unet = UNet2DConditionModel.from_pretrained("{SD1}", subfolder="unet")\n'
SCRIPTS = {
    "created": UNET + "DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule='scaled_linear', {})",
    "by a constant": f"STEPS = 50\n{UNET}DDPMScheduler.from_pretrained('{SD1}', subfolder='scheduler', {{}})",
    "in a class": (
        "class Trainer:\n    def __init__(self, steps=50):\n"
        f"        self.unet = UNet2DConditionModel.from_pretrained('{SD1}')\n"
        f"        self.noise = DDPMScheduler.from_pretrained('{SD1}', subfolder='scheduler', {{}})"
    ),
    "flow": "pipe = FluxPipeline.from_pretrained('black-forest-labs/FLUX.1-dev')\n"
    "pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, {})\npipe('a crab')",
}  # fmt: skip
HEAD = (
    "from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline\n"
    "from diffusers import AutoencoderKL, LCMScheduler, UNet2DConditionModel, UNet2DModel\n"
)


def found(text: str) -> list[str]:
    subject = script(HEAD + text)
    assert not subject.faults
    return [one.measured for one in run_rule(entry("UN127"), subject)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str) -> None:
    value = {"by a constant": "STEPS", "in a class": "steps"}.get(name, "50")
    assert len(found(SCRIPTS[name].replace("{}", f"num_train_timesteps={value}"))) == 1
    assert found(SCRIPTS[name].replace("{}", "num_train_timesteps=1000")) == []
    assert found(SCRIPTS[name].replace("{}", "num_train_timesteps=levels")) == []


OWN = {
    "its own network": "unet = UNet2DConditionModel(sample_size=64)\n",
    "its own network of pixels": "unet = UNet2DModel(sample_size=64)\n",
    "an autoencoder alone": f"vae = AutoencoderKL.from_pretrained('{SD1}', subfolder='vae')\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", OWN)
def test_a_network_that_may_be_trained_so(name: str) -> None:
    assert found(OWN[name] + "noise_scheduler = DDPMScheduler(num_train_timesteps=200)\n") == []


@pytest.mark.parametrize(("levels", "grade"), [(50, ERROR), (800, WARN), (1000, None)])
def test_configuration_of_a_scheduler(tmp_path: Path, levels: int, grade: object) -> None:
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=levels
    ).save_config(tmp_path)
    path = tmp_path / "scheduler_config.json"
    assert json.loads(path.read_text())["num_train_timesteps"] == levels
    assert [one.grade for one in check(path, select=["UN127"])] == ([grade] if grade is not None else [])


def test_highest_level_is_that_of_diffusers() -> None:
    table = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=50)
    kept = table.alphas_cumprod[-1].item()
    assert last_level("scaled_linear", 0.00085, 0.012, 50) == pytest.approx(((1 - kept) / kept) ** 0.5, rel=1e-4)
    assert kept == pytest.approx(0.76, abs=0.005)  # the share of signal of the rule's page
