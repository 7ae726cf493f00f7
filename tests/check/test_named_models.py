"""What the name of a model says, in whole files: a size is believed, a word like "turbo" is no proof."""

from pathlib import Path

import pytest

from unnoise.check.engine import judge
from unnoise.check.read.dispatch import read_text
from unnoise.check.rule import NOTE

SCRIPT = """from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_single_file("{}")
pipe("a castle on a hill", guidance_scale=2, num_inference_steps=10)
"""
INFOTEXT = "a castle on a hill\nSteps: {}, Sampler: Euler, CFG scale: {}, Seed: 1, Size: {}, Model: {}, Version: v1.6.0"


def graver(text: str, name: str) -> set[str]:
    """List the rules that find more than a note."""
    return {one.rule.id for one in judge(read_text(text, Path(name))) if one.severity != NOTE}


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("https://huggingface.co/someone/sdxl-turbo-merge-best/blob/main/bestTurboxlLCM_v10.safetensors", set()),
        ("dreamshaperXL_turboDPMSDE.safetensors", set()),
        ("sdxl-turbo-mix_v2.safetensors", set()),
        ("sd_xl_turbo_1.0_fp16.safetensors", {"UN402", "UN122"}),
    ],
)
def test_turbo_in_the_name_of_a_merge_is_a_hint(name: str, rules: set[str]) -> None:
    """A merge of SDXL Turbo may need guidance and ten steps; false alarm 03."""
    assert graver(SCRIPT.format(name), "a.py") & {"UN402", "UN122"} == rules


def test_turbo_in_infotext_is_a_hint() -> None:
    assert graver(INFOTEXT.format(10, 2.5, "832x1216", "realmixXL_turboV2"), "a.txt") == set()


@pytest.mark.parametrize(
    ("size", "model", "rules"),
    [
        ("1024x1024", "mymix-1024-ep9-sd-v1-4", set()),
        ("1024x1024", "mymix-sd-v1-4", {"UN306"}),
        ("256x256", "mymix-1024-ep9-sd-v1-4", {"UN306"}),
        ("512x512", "myXL-mix", {"UN306"}),
        ("512x512", "myXL-mix-512", set()),
        ("512x512", "wai-illustrious", {"UN306"}),
        ("1536x1536", "wai-illustrious", set()),
    ],
)
def test_a_size_in_the_name_is_believed(size: str, model: str, rules: set[str]) -> None:
    """A fine-tune may have been trained at another size than its base; false alarm 08."""
    assert graver(INFOTEXT.format(30, 5, size, model), "a.txt") == rules
