"""A LoRA mixes layer names of the original code with those of diffusers; one part is not applied.

Why: loaders choose how to read all names from 1 or 2 of them. input_blocks and down_blocks, or double_blocks and
transformer_blocks, are the same layers under two names; layers in the other naming are skipped.
Shown: the number of modules in each naming.
Instead: convert the smaller part, or merge the original files again with a tool that converts them first.
Fix: none; the file would have to be written again.
Source: shootthesound/comfyUI-Realtime-Lora#28, vladmandic/sdnext#2975.
"""

import re
from collections.abc import Iterator

from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject, Weights
from unnoise.families.lora import Lora, target

RULE = Rule(id="UN605", name="key-dialect", severity=WARN, checks="lora file")
PAIRS = (
    (r"(?:input|output)_blocks_\d|middle_block_", r"(?:down|up)_blocks_\d|mid_block_", "input_blocks", "down_blocks"),
    (r"(?:double|single)_blocks_\d", r"(?:single_)?transformer_blocks_\d", "double_blocks", "transformer_blocks"),
)


def check(weights: Weights, lora: Lora) -> Iterator[Finding]:
    layers = [target(name) for name, module in lora.modules.items() if module.part == "denoiser"]
    for first, second, original, diffusers in PAIRS:
        ours = sum(bool(re.match(first, layer)) for layer in layers)
        theirs = sum(bool(re.match(second, layer)) for layer in layers)
        if ours and theirs:
            message = "the layers of this LoRA follow two naming schemes; a loader reads only one of them"
            suggestion = "convert the smaller part to the names of the other"
            measured = f"{ours} like {original} and {theirs} like {diffusers}"
            yield Finding(RULE, weights.place, message, measured, "one naming scheme", suggestion)


def bad() -> Subject:
    return kohya(
        {
            "unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640),
            "unet_down_blocks_2_attentions_0_transformer_blocks_0_attn2_to_k": (2048, 1280),
        }
    )


def good() -> Subject:
    return kohya(
        {
            "unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640),
            "unet_input_blocks_7_1_transformer_blocks_0_attn2_to_k": (2048, 1280),
        }
    )
