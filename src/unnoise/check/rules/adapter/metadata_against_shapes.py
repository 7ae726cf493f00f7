"""The metadata of a LoRA names another base than the one its layers fit.

Why: tools that trust the metadata offer the LoRA for the wrong models and hide it for the right ones. Forge once
treated every LoRA whose metadata is not that of SDXL or SD 2 as one of SD 1, including those of Flux.
Shown: the base in the metadata and the base by the widths of the layers.
Instead: write the base that the layers fit into the metadata.
Fix: none; a header's length is part of the file, which would have to be written again.
Source: lllyasviel/stable-diffusion-webui-forge#1112; kohya-ss/sd-scripts, library/sai_model_spec.py.
"""

from collections.abc import Iterator

from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import are_other_families, kohya
from unnoise.check.subject import Location, Subject, Weights
from unnoise.families.lora import Lora, by_metadata, by_shapes

RULE = Rule(id="UN609", name="metadata-against-shapes", severity=WARN, checks="lora file")


def check(weights: Weights, lora: Lora) -> Iterator[Finding]:
    stated = by_metadata(weights.header.metadata)
    if stated.known and are_other_families(stated, shown := by_shapes(lora)):
        message = "the metadata of this LoRA names another family than its layers fit"
        suggestion = f"write a base of {shown.family} into the metadata"
        measured = f"{stated.family} by {stated.known_by}"
        expected = f"{shown.family} by {shown.known_by}"
        yield Finding(RULE, Location(weights.place.path, ("__metadata__",)), message, measured, expected, suggestion)


def bad() -> Subject:
    layer = "unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    return kohya({layer: (2048, 640)}, ss_base_model_version="sd_v1")


def good() -> Subject:
    layer = "unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    return kohya({layer: (2048, 640)}, ss_base_model_version="sdxl_base_v1-0")
