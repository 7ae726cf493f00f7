"""A layer of the LoRA has only one half of its up and down pair and cannot be applied.

Why: a layer's change is up @ down. With one half missing in one layer diffusers 0.42.1 raises a KeyError or a
ValueError and loads nothing. Such files result from filters that match only some names.
Shown: how many layers lack which half.
Instead: save or convert it again with both halves.
Fix: none; the missing half is not in the file.
Source: diffusers/loaders/lora_conversion_utils.py, _convert_non_diffusers_lora_to_diffusers.
"""

from collections.abc import Iterator

from unnoise.check.examples import weights
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Location, Subject, Weights
from unnoise.families.lora import Lora

RULE = Rule(id="UN614", name="adapter-missing-up-or-down", severity=ERROR, checks="lora file")


def check(file: Weights, lora: Lora) -> Iterator[Finding]:
    for half in ("up", "down"):
        lacking = [name for name, module in lora.modules.items() if module.missing == half]
        if lacking:
            message = f"layers of this LoRA have no {half} weight, so it cannot be applied"
            suggestion = "save or convert it again with both halves"
            measured = f"{len(lacking)} of {len(lora.modules)} layers without it, such as {lacking[0][:100]}"
            expected = "both halves in every layer"
            yield Finding(RULE, Location(file.place.path, (lacking[0],)), message, measured, expected, suggestion)


def bad() -> Subject:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    return weights({f"{layer}.lora_down.weight": ("F16", (4, 768)), f"{layer}.alpha": ("F16", ())})


def good() -> Subject:
    return kohya({"unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (768, 1280)})
