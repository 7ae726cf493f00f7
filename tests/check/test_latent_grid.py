"""UN309 and UN715: latents and masks of scripts that have the size of the picture."""

import ast

import pytest

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script
from unnoise.check.script_numbers import ScriptNumbers

SD1 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
HEAD = f"""
import argparse
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
vae = AutoencoderKL.from_pretrained("{SD1}", subfolder="vae")
unet = UNet2DConditionModel.from_pretrained("{SD1}", subfolder="unet")
scheduler = DDIMScheduler.from_pretrained("{SD1}", subfolder="scheduler")
"""


def found(rule: str, text: str, head: str = HEAD) -> list[tuple[str, str]]:
    subject = script(head + text)
    assert not subject.faults
    return [(finding.measured, finding.expected) for finding in run_rule(entry(rule), subject)]


# a text with {} for the divisor of both sides
SIZES = {
    "names": "height, width = 512, 768\nlatents = torch.randn((1, unet.config.in_channels, height{}, width{}))\n",
    "parameters": (
        "def sample(unet, height=512, width=768):\n"
        "    latents = torch.randn(1, 4, height{}, width{}, device='cuda').to(unet.dtype)\n    return latents\n"
    ),
    "options": (
        "parser = argparse.ArgumentParser()\nparser.add_argument('--height', type=int, default=512)\n"
        "parser.add_argument('-W', '--width', type=int, default=768)\nargs = parser.parse_args()\n"
        "shape = (2, unet.in_channels, args.height{}, args.width{})\ninit_latents = randn_tensor(shape)\n"
    ),
    "class": (
        "class Painter:\n    def __init__(self):\n        self.height, self.width = 512, 768\n"
        "    def start(self):\n        self.latents = torch.zeros((1, 4, self.height{}, self.width{}))\n"
    ),
    "argument": (
        f"pipe = StableDiffusionPipeline.from_pretrained('{SD1}')\nnoise = torch.randn(1, 4, 512{{}}, 768{{}})\n"
        "pipe('a crab', latents=noise)\n"
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_latents_of_the_size_of_the_picture(name: str) -> None:
    assert found("UN309", SIZES[name].replace("{}", "")) == [("latents of 768x512", "96x64")]
    assert found("UN309", SIZES[name].replace("{}", " // 8")) == []


OTHERS = {
    "a size that is changed": "height = 512\nheight = height // 8\nlatents = torch.randn((1, 4, height, height))\n",
    "a size that is not stated": "def f(height):\n    latents = torch.randn((1, 4, height, height))\n",
    "pixels": "latent_image = torch.randn((1, 3, 512, 512))\n",
    "another tensor": "noise = torch.randn((1, 4, 512, 512))\n",
    "a large picture": "latents = torch.randn((1, 4, 192, 192))\n",
    "no shape": "latents = torch.zeros(512)\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_latents_that_may_be_right(name: str) -> None:
    assert found("UN309", OTHERS[name]) == []


def test_latents_of_an_unknown_model() -> None:
    text = "import torch\nfrom diffusers import UNet2DConditionModel\nlatents = torch.randn((1, 4, {0}, {0}))\n"
    assert found("UN309", text.format(512), "") == [("latents of 512x512", "64x64")]
    assert found("UN309", text.format(256), "") == []


NUMBERS = {
    "a = 3\nx = a * 2 + 1": 7,
    "a = 512\ndef f(a=64):\n    x = a // 8": 8,
    "a = 512\ndef f():\n    x = a / 8": 64,
    "a = 1\na = 2\nx = a": None,
    "for a in b:\n    x = a": None,
    "class C:\n    n: int = 4\nx = config.n": 4,
    "class C:\n    n: int = 4\nq.n = 5\nx = config.n": None,
    "x = int(-7.9 / 2)": -3,
    "x = 1 // 0": None,
    "x = a\na = x": None,
    "x = True": None,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_of_a_script(text: str) -> None:
    tree = ast.parse(text)
    value = next(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "x"
    )
    assert ScriptNumbers(tree).number(value) == NUMBERS[text]


MASK = "mask = Image.open('mask.png').convert('L'){}\n"
TENSOR = "mask = torch.from_numpy(np.array(mask)).float()[None, None] / 255\n"
ENCODED = "kept = vae.encode(photo).latent_dist.sample() * vae.config.scaling_factor\n"
SAMPLED = (
    "for t in scheduler.timesteps:\n"
    "    latents = scheduler.step(unet(latents, t).sample, t, latents).prev_sample\n    {}\n"
)
# a text with {} for what comes before the mask and the latents meet, a fault, and what is right
MASKS = {
    "blend": (
        MASK + TENSOR + ENCODED + SAMPLED.replace("{}", "latents = latents * mask + kept * (1 - mask)"),
        ".resize((512, 512))",
        ".resize((64, 64))",
    ),
    "threshold": (
        MASK.replace("{}", "") + TENSOR + "mask = (mask > 0.5).half()\n{}\n" + ENCODED + "kept = kept * mask\n",
        "pass",
        "mask = F.interpolate(mask, size=kept.shape[-2:])",
    ),
    "where": (
        MASK.replace("{}", "") + TENSOR + "{}\n" + SAMPLED.replace("{}", "latents = torch.where(mask > 0, latents, 0)"),
        "mask = F.interpolate(mask, size=(512, 512))",
        "mask = F.interpolate(mask, scale_factor=1 / 8)",
    ),
    "concatenated": (
        "mask = torch.ones(1, 1, 512{}, 512{})\nmasked = vae.encode(photo * 1).latent_dist.mode() * 0.18215\n"
        "inputs = torch.cat([masked, mask], dim=1)  # latents\n",
        "",
        " // 8",
    ),
    "function": (
        "def load(path):\n    mask = np.array(Image.open(path).convert('L'))\n    {}\n"
        "    return torch.from_numpy(mask)[None]\n" + ENCODED + "blended = kept * load('mask.png')  # latents\n",
        "mask = mask / 255",
        "mask = shrink(mask)",
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_the_size_of_the_picture(name: str) -> None:
    text, bad, good = MASKS[name]
    assert found("UN715", text.replace("{}", bad))
    assert found("UN715", text.replace("{}", good)) == []


def test_the_size_of_a_mask_is_shown() -> None:
    text, bad, _ = MASKS["blend"]
    assert found("UN715", text.replace("{}", bad))[0] == ("a mask of 512x512", "64x64")


MASKS_THAT_MAY_BE_RIGHT = {
    "of pixels": MASK + TENSOR + "masked_image = photo * mask\nlatents = None\n",
    "given": ENCODED + "def blend(mask, latents):\n    return latents * mask\n",
    "of a part": MASK + TENSOR + ENCODED + "mask = mask[:, :, ::8, ::8]\nkept = kept * mask\n",
    "either": MASK + TENSOR + ENCODED + "if small:\n    mask = shrink(mask)\nkept = kept * mask\n",
    "of another processor": MASK + ENCODED + "mask = processor.preprocess(mask, 64, 64)\nkept = kept * mask\n",
}


@pytest.mark.parametrize("name", MASKS_THAT_MAY_BE_RIGHT)
def test_masks_that_may_be_right(name: str) -> None:
    assert found("UN715", MASKS_THAT_MAY_BE_RIGHT[name].replace("{}", "")) == []
