"""A LoRA is empty: it has no modules, or modules of rank 0.

Why: it adds exactly 0 to every layer, so the image is that of the base. Such files result from conversions and resizing
that drop every layer.
Shown: the number of modules of rank 0, or that there are no modules.
Instead: save or convert it again.
Fix: none; the file contains nothing of use.
Source: kohya-ss/sd-scripts, networks/resize_lora.py; Comfy-Org/ComfyUI#1144.
"""

from collections.abc import Iterator

from unnoise.check.examples import weights
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject, Weights
from unnoise.families.lora import Lora

RULE = Rule(id="UN612", name="rank-zero-or-empty", severity=ERROR, checks="lora file")


def check(file: Weights, lora: Lora) -> Iterator[Finding]:
    hollow = [name for name, module in lora.modules.items() if module.rank == 0]
    if lora.modules and not hollow:
        return
    yield Finding(
        RULE,
        file.place,
        message="this LoRA contains nothing that changes the model"
        if len(hollow) == len(lora.modules)
        else "part of this LoRA is empty",
        measured=f"{len(hollow)} of {len(lora.modules)} modules of rank 0" if hollow else "0 modules",
        expected="a rank of at least 1 in every module",
        suggestion="save or convert it again",
    )


def bad() -> Subject:
    return weights({}, {"ss_network_module": "networks.lora", "ss_network_dim": "16"})


def good() -> Subject:
    return kohya({"unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (768, 1280)})
