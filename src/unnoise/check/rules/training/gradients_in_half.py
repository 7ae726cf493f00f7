"""A training whose gradients are float16 throughout: the smallest of them are lost.

Why: float16 holds nothing between 0 and 6e-8, and is exact to 2^-11 of a number. Gradients of diffusion training lie
at 1e-8 and below in many layers, and an update of 1e-5 to a weight of 0.1 is rounded away. Mixed precision keeps
gradients and weights in float32 for that reason.
Shown: the switch, and the smallest number it leaves.
Instead: use mixed precision, or bfloat16 throughout where memory is short.
Fix: none; it may need more memory than there is.
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
        message = "gradients and weights are float16 throughout, which loses the smallest of them"
        suggestion = "leave it out and keep mixed_precision, or use full_bf16 where memory is short"
        measured = f"{KEY}, nothing between 0 and 6e-8"
        expected = "float32 behind mixed precision, which goes down to 1e-45"
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
