"""The training computes gradients entirely in float16; the smallest are lost.

Why: float16 has no number between 0 and 6e-8, and a relative precision of 2^-11. Gradients of diffusion training are
1e-8 and below in many layers, and an update of 1e-5 to a weight of 0.1 is lost to rounding. Mixed precision keeps
gradients and weights in float32 for that reason.
Shown: the switch and the smallest number it can represent.
Instead: use mixed precision, or bfloat16 throughout if memory is short.
Fix: none; it may need more memory than available.
Source: kohya-ss/sd-scripts, docs/train_network_advanced.md, --full_fp16: "may affect training stability"; Micikevicius
et al. 2018, arXiv:1710.03740, section 3; IEEE 754, binary16.
"""

from collections.abc import Iterator

from unnoise.check.examples import command
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.training._shared import is_on
from unnoise.check.subject import Subject, Training

RULE = Rule(id="UN515", name="gradients-in-half", severity=NOTE, checks="training", tools=("kohya",))
KEY = "full_fp16"


def check(training: Training) -> Iterator[Finding]:
    setting = training.get(KEY)
    if setting is not None and is_on(training, KEY):
        message = "gradients and weights are entirely float16, which loses the smallest of them"
        suggestion = "remove it and keep mixed_precision, or use full_bf16 if memory is short"
        measured = f"{KEY}, no number between 0 and 6e-8"
        expected = "float32 with mixed precision, down to 1e-45"
        yield Finding(RULE, setting.place, message, measured, expected, suggestion)


def bad() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path base.safetensors \\
          --dataset_config data.toml --network_module networks.lora --mixed_precision fp16 --full_fp16
        """
    )


def good() -> Subject:
    return command(
        """
        accelerate launch train_network.py --pretrained_model_name_or_path base.safetensors \\
          --dataset_config data.toml --network_module networks.lora --mixed_precision fp16
        """
    )
