"""The ControlNet belongs to another family than the base model.

Why: a ControlNet is a copy of half its base and adds to that base's features. A ControlNet of SD 1.5 reads prompts of
width 768, one of SDXL 2048. On the other base it raises a shape error, or has a weak effect if only its outputs fit.
Shown: the family of the ControlNet and that of the base.
Instead: use a ControlNet of the base's family.
Fix: none; it is not known which of the two is meant.
Source: Mikubill/sd-webui-controlnet#2222, Comfy-Org/ComfyUI#932.
"""

from collections.abc import Iterator

from unnoise.check.examples import checkpoint, together, weights
from unnoise.check.items import RunAdapter
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.adapter._shared import are_other_families
from unnoise.check.subject import Subject

RULE = Rule(id="UN608", name="controlnet-of-another-family", severity=ERROR, checks="controlnet")


def check(one: RunAdapter) -> Iterator[Finding]:
    if are_other_families(one.adapter, one.base):
        message = f"the ControlNet {one.use.adapter.name} belongs to another family than the base model"
        suggestion = f"use a ControlNet for {one.base.family}"
        measured = f"a ControlNet of {one.adapter.family}"
        yield Finding(RULE, one.use.place, message, measured, f"one of {one.base.family}", suggestion)


def bad() -> Subject:
    net = {
        "controlnet_cond_embedding.conv_in.weight": ("F16", (16, 3, 3, 3)),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": ("F16", (320, 768)),
    }
    return together(checkpoint("sdxl"), weights(net, path="control.safetensors"))


def good() -> Subject:
    net = {
        "controlnet_cond_embedding.conv_in.weight": ("F16", (16, 3, 3, 3)),
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": ("F16", (640, 2048)),
    }
    return together(checkpoint("sdxl"), weights(net, path="control.safetensors"))
