"""A LoRA contains numbers that are not finite, so every image with it is black.

Why: an overflow in fp16 training leaves NaN in every affected weight, and the file is saved all the same. One NaN makes
the whole image NaN at the first step.
Shown: the tensor and the share of numbers that are not finite.
Instead: use an earlier checkpoint, and train again in bf16 or with a lower learning rate.
Fix: none; the weights are lost.
Source: kohya-ss/sd-scripts#293; huggingface/diffusers, fuse_lora(safe_fusing=True).
"""

from collections.abc import Iterator
from math import isfinite

from unnoise.check.examples import weights
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Location, Subject, Weights
from unnoise.families.lora import Lora

RULE = Rule(id="UN611", name="lora-not-finite", severity=ERROR, needs=Needs.WEIGHTS, checks="lora file")


def check(file: Weights, _: Lora) -> Iterator[Finding]:
    broken = [name for name, numbers in file.values.items() if not all(map(isfinite, numbers))]
    if broken:
        numbers = file.values[broken[0]]
        wrong = sum(not isfinite(number) for number in numbers)
        message = "this LoRA contains numbers that are not finite, so every image with it is black"
        suggestion = "use an earlier checkpoint, and train again in bf16 or with a lower learning rate"
        measured = f"{wrong} of {len(numbers)} numbers read, in {len(broken)} of {len(file.values)} tensors read"
        yield Finding(RULE, Location(file.place.path, (broken[0],)), message, measured, "none", suggestion)


def bad() -> Subject:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": ("F16", (4, 768)), f"{layer}.lora_up.weight": ("F16", (1280, 4))}
    return weights(tensors, values={f"{layer}.lora_up.weight": (float("nan"),) * 16})


def good() -> Subject:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": ("F16", (4, 768)), f"{layer}.lora_up.weight": ("F16", (1280, 4))}
    return weights(tensors, values={f"{layer}.lora_up.weight": (0.01,) * 16})
