"""UN301 to UN303 on scripts as people write them: loops, classes, functions, named numbers and in-place products."""

import pytest

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script

FAMILIES = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "flux": "black-forest-labs/FLUX.1-dev",
}
HEAD = """
import torch
from diffusers import AutoencoderKL, DDPMScheduler
vae = AutoencoderKL.from_pretrained("{name}", subfolder="vae")
scheduler = DDPMScheduler.from_pretrained("{name}", subfolder="scheduler")
"""


def found(text: str, family: str) -> list[str]:
    subject = script(HEAD.format(name=FAMILIES[family]) + text if family else text)
    assert not subject.faults
    rules = [entry(rule) for rule in ("UN301", "UN302", "UN303")]
    return [finding.rule.id for rule in rules for finding in run_rule(rule, subject)]


CLASS = """
class Codec:
    def __init__(self, vae):
        self.vae = vae
        self.scale = {scale}
    def encode(self, x):
        return self.vae.encode(x).latent_dist.sample() * self.scale
    def decode(self, z):
        return self.vae.decode(z / self.scale).sample
    def noised(self, x, noise, t):
        return self.scheduler.add_noise(self.encode(x){more}, noise, t)
"""
LOOP = """
for pixels in loader:
    latents = vae.encode(pixels).latent_dist.sample()
    {line}
    noisy = scheduler.add_noise(latents, torch.randn_like(latents), t)
"""
SAMPLING = """
def sample(unet, latents):
    for t in scheduler.timesteps:
        latents = scheduler.step(unet(latents, t).sample, t, latents).prev_sample
    {line}
    return vae.decode(latents).sample
"""
FUNCTION = """
def encode(x):
    latents = vae.encode(x).latent_dist.sample()
    return latents{scale}
def loss(x, t):
    z = encode(x)
    return scheduler.add_noise(z, torch.randn_like(z), t)
"""
FLOW = """
latents = vae.encode(pixels).latent_dist.sample()
{line}
noisy = sigma * noise + (1 - sigma) * latents
"""
# family, rule, text, the fault, and what is right
CASES = {
    "named": ("sdxl", "UN301", "SCALE = {}\n" + LOOP.format(line="latents = latents * SCALE"), "0.18215", "0.13025"),
    "attribute": ("sdxl", "UN301", CLASS.replace("{more}", "").replace("{scale}", "{}"), "0.18215", "0.13025"),
    "in place": ("sdxl", "UN301", LOOP.replace("{line}", "latents.mul_({})"), "0.18215", "0.13025"),
    "function of torch": ("sdxl", "UN301", LOOP.replace("{line}", "latents = torch.mul(latents, {})"), "0.18215",
                          "0.13025"),
    "divided in place": ("sd1", "UN303", SAMPLING.replace("{line}", "{}"), "latents.clamp(-4, 4)",
                         "latents.div_(vae.config.scaling_factor)"),
    "method in a loop": ("sd1", "UN303", LOOP.replace("{line}", "{}"), "latents.div(2)", "latents.mul_(0.18215)"),
    "of a function": ("sd1", "UN303", FUNCTION.replace("{scale}", "{}"), "", " * 0.18215"),
    "twice in a class": ("sd1", "UN303", CLASS.replace("{scale}", "0.18215").replace("{more}", "{}"),
                         " * self.vae.config.scaling_factor", ""),
    "twice in place": ("sd1", "UN303", LOOP.replace("{line}", "latents.mul_(0.18215)\n    {}"),
                       "latents = latents * vae.config.scaling_factor", "latents = latents.detach()"),
    "at every pass": ("sd1", "UN303", "z = vae.encode(x).latent_dist.mode()\nfor t in times:\n    {}\n",
                      "z = z * vae.config.scaling_factor", "y = z * vae.config.scaling_factor"),
    "wrapped": ("sd1", "UN303", "z = accelerator.unwrap_model(vae).encode(x).latent_dist.sample()\n"
                "y = noise_scheduler.add_noise(z{}, noise, t)\n", "", " * 0.18215"),
    "shift before": ("flux", "UN302", FLOW.replace("{line}", "latents = {} * vae.config.scaling_factor"), "latents",
                     "(latents - vae.config.shift_factor)"),
    "shift in place": ("flux", "UN302", FLOW.replace("{line}", "{}\nlatents.mul_(vae.config.scaling_factor)"),
                       "pass", "latents.sub_(vae.config.shift_factor)"),
    "shift of one side": ("flux", "UN302", FLOW.format(line="latents = (latents - 0.1159) * 0.3611")
                          + SAMPLING.replace("{line}", "latents = latents / vae.config.scaling_factor{}"), "",
                          " + vae.config.shift_factor"),
    "shift of packed latents": ("flux", "UN302", "z = pipe('a', output_type='latent').images\n"
                                "z = pipe._unpack_latents(z, 1024, 1024, 8)\nimage = vae.decode(z / 0.3611{})[0]\n",
                                "", " + 0.1159"),
    "shift by the number": ("", "UN302", "z = self.vae.encode(x).latent_dist.sample()\nz = {} * 0.3611\n", "z",
                            "(z - 0.1159)"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fault_and_its_twin(name: str) -> None:
    family, rule, text, bad, good = CASES[name]
    assert found(text.replace("{}", bad), family) in ([rule], [rule, rule])
    assert found(text.replace("{}", good), family) == []


SILENT = {
    "shift where there is one": "if vae.config.shift_factor is not None:\n    z = z - vae.config.shift_factor\n"
                                "z = z * vae.config.scaling_factor",
    "shift by another name": "z = (z - getattr(vae.config, 'shift_factor', 0)) * vae.config.scaling_factor",
    "statistics of channels": "z = (z - mean) / deviation * vae.config.scaling_factor",
    "first pass only": "for i in range(9):\n    if i == 0:\n        z = (z - vae.config.shift_factor) * 0.3611",
    "other methods": "z.normal_()\ny = scheduler.add_noise(z, noise, t)",
    "method that may scale": "self.z = z\nself.prepare()\ny = scheduler.add_noise(self.z, noise, t)",
    "image of an editing model": "net = unet(torch.cat([noisy, z], dim=1), t)",
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_latents_that_may_be_right(name: str) -> None:
    text = "z = vae.encode(pixels).latent_dist.sample()\n" + SILENT[name] + "\n"
    assert found(text, "flux") == []
