"""The index of a diffusers folder names a component without files.

Why: from_pretrained stops at the missing component, after it has loaded those before it. With 1 of 7 components missing
it may load gigabytes first.
Shown: the component.
Instead: download it, or pass the component to from_pretrained.
Fix: none.
Source: diffusers/pipelines/pipeline_utils.py, DiffusionPipeline.from_pretrained and download.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.examples import folder
from unnoise.check.index import INDEX
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN911", name="component-missing", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "missing" and fault.place.path.endswith(INDEX):
        message = "the index of this folder names a component without files"
        yield Finding(RULE, fault.place, message, fault.message, "its files", "download the component again")


FILES: Mapping[str, Mapping[str, Any] | None] = {
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    },
    "unet/config.json": {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768, "in_channels": 4},
    "unet/diffusion_flax_model.msgpack": None,
}
VAE: Mapping[str, Mapping[str, Any] | None] = {
    "vae/config.json": {"_class_name": "AutoencoderKL"},
    "vae/diffusion_flax_model.msgpack": None,
}


def bad() -> Subject:
    return folder(FILES)


def good() -> Subject:
    return folder({**FILES, **VAE})
