"""A LoRA belongs to another family than the model that it is applied to; none of it fits.

Why: loaders skip layers that do not fit, with a line in a log or none, and the image is that of the base. In an SD 1.5
LoRA the layers that read the prompt have width 768, in SDXL 2048: of the 70 cross-attentions of SDXL none fits.
Shown: the family of the LoRA with its evidence, the number of matching layers, and the base's family.
Instead: use a LoRA for this base, or a base of the LoRA's family.
Fix: none; it is not known which of the two is meant.
Source: huggingface/diffusers#9950; Comfy-Org/ComfyUI, comfy/lora.py, load_lora ("lora key not loaded").
"""

from collections.abc import Iterator

from unnoise.check.examples import checkpoint, together
from unnoise.check.items import RunAdapter
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.adapter._shared import are_other_families, kohya
from unnoise.check.subject import Subject
from unnoise.families.lora import target

RULE = Rule(id="UN601", name="lora-of-another-family", severity=ERROR, checks="lora")
STARTS = ("model.diffusion_model.", "diffusion_model.", "unet.", "transformer.")


def check(one: RunAdapter) -> Iterator[Finding]:
    if are_other_families(one.adapter, one.base):
        known_by = f" ({one.adapter.known_by})" if one.adapter.known_by else ""
        message = f"{one.use.adapter.name} belongs to another family than the model that it is applied to"
        suggestion = f"use a LoRA for {one.base.family}, or a model of {one.adapter.family}"
        measured = f"a LoRA of {one.adapter}{known_by}{_matched(one)}"
        yield Finding(RULE, one.use.place, message, measured, f"a LoRA of {one.base.family}", suggestion)


def _matched(one: RunAdapter) -> str:
    """Count the layers that the base has too, where both use the same names."""
    base = one.use.base
    if one.lora is None or base is None or base.weights is None:
        return ""
    known = {_layer(name) for name in base.weights.header.tensors}
    layers = [target(name) for name, module in one.lora.modules.items() if module.part == "denoiser"]
    fit = sum(layer in known for layer in layers)
    return f", {fit} of its {len(layers)} layers by name" if fit else ""


def _layer(name: str) -> str:
    start = next((start for start in STARTS if name.startswith(start)), "")
    return name.removeprefix(start).removesuffix(".weight").replace(".", "_")


def bad() -> Subject:
    layer = "unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    return together(checkpoint("sdxl"), kohya({layer: (768, 640)}))


def good() -> Subject:
    layer = "unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    return together(checkpoint("sdxl"), kohya({layer: (2048, 640)}))
