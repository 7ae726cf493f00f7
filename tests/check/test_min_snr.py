"""UN505: SNR weights of noise prediction in a training whose target is v."""

import pytest

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN

HEAD = """
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
{load}
def loss(unet, latents, noise, t, gamma=5.0):
    snr = compute_snr(noise_scheduler, t)
    weights = torch.stack([snr, gamma * torch.ones_like(t)], dim=1).min(dim=1)[0] / {below}
{target}
    return weights * (unet(noise_scheduler.add_noise(latents, noise, t), t) - target) ** 2
"""
V = 'noise_scheduler = DDPMScheduler.from_pretrained("stabilityai/stable-diffusion-2-1", subfolder="scheduler")'
V_UNET = 'UNet2DConditionModel.from_pretrained("stabilityai/stable-diffusion-2-1", subfolder="unet")'
SET = 'noise_scheduler = DDPMScheduler.from_pretrained("my/base", prediction_type="v_prediction")'
UNKNOWN = 'noise_scheduler = DDPMScheduler.from_pretrained("my/base")'
VELOCITY = "    target = noise_scheduler.get_velocity(latents, noise, t)"
EITHER = (
    '    target = noise if noise_scheduler.config.prediction_type == "epsilon" else '
    "noise_scheduler.get_velocity(latents, noise, t)"
)
NOISE = "    target = noise"
CASES = [
    (V + "\n" + V_UNET, VELOCITY, WARN),
    (SET, VELOCITY, WARN),
    (UNKNOWN, VELOCITY, WARN),
    (UNKNOWN, EITHER, NOTE),
    (UNKNOWN, NOISE, None),
    ('UNet2DConditionModel.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")\n' + UNKNOWN, NOISE, None),
]


@pytest.mark.parametrize(("load", "target", "grade"), CASES)
def test_weights_of_noise_for_v(load: str, target: str, grade: int | None) -> None:
    def found(below: str) -> list[tuple[int, str]]:
        subject = script(HEAD.format(load=load, target=target, below=below))
        assert not subject.faults
        return [(one.grade, one.measured) for one in run_rule(entry("UN505"), subject)]

    assert found("snr") == ([(grade, "weight 1 at SNR 0.0047")] if grade is not None else [])
    assert found("(snr + 1)") == []
