"""A kohya LoRA has mixed ranks and no alphas; the strength of its layers depends on the loader.

Why: without an alpha, ComfyUI, Forge and sd-scripts apply each layer with strength 1. diffusers before August 2026 used
the rank of the first layer as the alpha of all: most layers of a file of ranks 64 and 16 ran at 0.25 of their strength.
Shown: the ranks in a file without any alpha.
Instead: write an alpha equal to its rank for every layer, or load it with a corrected version of diffusers.
Fix: none; the file would have to be written again.
Source: huggingface/diffusers#14409.
"""

from collections.abc import Iterator

from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject, Weights
from unnoise.families.lora import Lora

RULE = Rule(id="UN610", name="lora-without-alpha", severity=NOTE, checks="lora file")


def check(weights: Weights, lora: Lora) -> Iterator[Finding]:
    ranks = {module.rank for module in lora.modules.values() if module.rank and module.kind == "lora"}
    if lora.layout == "kohya" and len(ranks) > 1 and not any(module.alpha for module in lora.modules.values()):
        low, high = min(ranks), max(ranks)
        message = "this LoRA has layers of several ranks and no alphas, which loaders read differently"
        suggestion = "write an alpha equal to its rank for every layer, or load it with diffusers after its #14409"
        measured = f"no alpha, ranks {low} to {high}"
        yield Finding(RULE, weights.place, message, measured, "an alpha for every layer", suggestion)


def bad() -> Subject:
    block = "unet_down_blocks_0_attentions_0_transformer_blocks_0"
    keys, values = f"{block}_attn2_to_k", f"{block}_attn2_to_v"
    return kohya({keys: (768, 320), values: (768, 320)}, alphas=None, rank={keys: 16, values: 64})


def good() -> Subject:
    block = "unet_down_blocks_0_attentions_0_transformer_blocks_0"
    return kohya({f"{block}_attn2_to_k": (768, 320), f"{block}_attn2_to_v": (768, 320)}, alphas=None)
