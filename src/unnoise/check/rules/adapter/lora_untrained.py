"""All up weights of the LoRA are zero, as before the first training step, so it does nothing.

Why: a LoRA starts with up = 0 and so changes nothing at first. A file that is saved before training, or from a copy
that the optimizer never updates, keeps up = 0, and up @ down adds exactly 0 to every layer.
Shown: the number of up weights that were read and are 0.
Instead: save the copy that the optimizer trains.
Fix: none; the file contains nothing of use.
Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; kohya-ss/sd-scripts, networks/lora.py, init of lora_up.
"""

from collections.abc import Iterator

from unnoise.check.examples import weights
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Subject, Weights
from unnoise.families.lora import Lora

RULE = Rule(id="UN615", name="lora-untrained", severity=WARN, needs=Needs.WEIGHTS, checks="lora file")
UP = ("lora_up.weight", "lora_B.weight", ".up.weight")


def check(file: Weights, _: Lora) -> Iterator[Finding]:
    read = {name: numbers for name, numbers in file.values.items() if name.endswith(UP) and numbers}
    if read and not any(number for numbers in read.values() for number in numbers):
        message = "the up weights of this LoRA are all 0, as before training, so it does nothing"
        suggestion = "save the copy that the optimizer trains"
        measured = f"{sum(map(len, read.values()))} numbers of {len(read)} up weights, all 0"
        yield Finding(RULE, file.place, message, measured, "other numbers than 0", suggestion)


def bad() -> Subject:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": ("F16", (4, 768)), f"{layer}.lora_up.weight": ("F16", (1280, 4))}
    return weights(tensors, values={f"{layer}.lora_up.weight": (0.0,) * 16})


def good() -> Subject:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": ("F16", (4, 768)), f"{layer}.lora_up.weight": ("F16", (1280, 4))}
    return weights(tensors, values={f"{layer}.lora_up.weight": (0.01,) * 16})
