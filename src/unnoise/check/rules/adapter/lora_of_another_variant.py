"""A LoRA belongs to another size of the family: its matrices do not fit, or only some layers exist.

Why: FLUX.2 klein has 4B (3072 wide) and 9B (4096) models, Wan 1.3B (1536), 5B (3072) and 14B (5120): loading fails with
a shape error, or the program catches it and draws with the base alone. SSD-1B and Vega lack 40 or more of the 70
transformer blocks of SDXL, so most of an SDXL LoRA cannot be applied.
Shown: the size of the LoRA's layers and that of the base.
Instead: use a LoRA trained on this size.
Fix: none; it is not known which of the two is meant.
Source: atomantic/PortOS#963, daydreamlive/scope#1028; Segmind, arXiv:2401.02677, section 3.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import together, weights
from unnoise.check.items import RunAdapter
from unnoise.check.rule import ERROR, WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject
from unnoise.families.identity import Identity
from unnoise.families.lora import target

RULE = Rule(id="UN602", name="lora-of-another-variant", severity=ERROR, checks="lora")
# The part of a variant's name that states its size; families of one size are absent.
SIZES = {
    "flux2": ("4b", "9b", "dev"),
    "wan": ("1.3b", "5b", "14b"),
    "sd3": ("medium", "large"),
    "sdxl": ("ssd-1b", "vega"),
}
FULL = "full depth"
UNPRUNED = ("base", "turbo", "lightning", "hyper", "inpaint", "playground-2.5", "cosxl", "v-pred")
DEEP = re.compile(
    r"(?:down_blocks_2_attentions_\d|input_blocks_[78]_1)_transformer_blocks_[4-9]_"
    r"|(?:mid_block_attentions_\d|middle_block_\d)_transformer_blocks_"
)


def check(one: RunAdapter) -> Iterator[Finding]:
    if one.adapter.family != one.base.family:
        return
    trained = FULL if _is_deep(one) else _size(one.adapter)
    put = _size(one.base) or (FULL if one.base.family == "sdxl" and one.base.variant in UNPRUNED else "")
    if trained and put and trained != put:
        message = f"{one.use.adapter.name} was trained on another size of {one.base.family}"
        suggestion = f"use a LoRA trained on {one.base.family} {put}"
        measured = f"a LoRA of {trained} ({one.adapter.known_by or one.adapter})"
        expected = f"one of {put}"
        severity = WARN if one.base.family == "sdxl" else None
        yield Finding(RULE, one.use.place, message, measured, expected, suggestion, severity)


def _size(identity: Identity) -> str:
    return next((size for size in SIZES.get(identity.family, ()) if size in identity.variant), "")


def _is_deep(one: RunAdapter) -> bool:
    """Return whether a LoRA of SDXL adapts layers that its pruned relatives lack."""
    names = one.lora.modules if one.lora and one.adapter.family == "sdxl" else ()
    return any(DEEP.match(target(name)) for name in names)


def bad() -> Subject:
    base = {
        "head.modulation": ("F16", (1, 2, 5120)),
        "patch_embedding.weight": ("F16", (5120, 16, 1, 2, 2)),
        "blocks.0.cross_attn.k.weight": ("F16", (5120, 5120)),
    }
    return together(weights(base, path="wan.safetensors"), kohya({"unet_blocks_0_cross_attn_k": (1536, 1536)}))


def good() -> Subject:
    base = {
        "head.modulation": ("F16", (1, 2, 5120)),
        "patch_embedding.weight": ("F16", (5120, 16, 1, 2, 2)),
        "blocks.0.cross_attn.k.weight": ("F16", (5120, 5120)),
    }
    return together(weights(base, path="wan.safetensors"), kohya({"unet_blocks_0_cross_attn_k": (5120, 5120)}))
