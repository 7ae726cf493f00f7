"""A textual inversion has another width than the base's text encoder and is ignored, in whole or in half.

Why: an embedding replaces the vector of a word: 768 numbers in SD 1.x, 1024 in SD 2.x, 768 and 1280 for the two
encoders of SDXL. ComfyUI prints a warning and ignores one that does not fit, so the trigger word does nothing.
Shown: the widths in the file and those of the base.
Instead: use an embedding trained for this family.
Fix: none; it is not known which of the two is meant.
Source: Comfy-Org/ComfyUI, comfy/sd1_clip.py, "shape mismatch when trying to apply embedding".
"""

from collections.abc import Iterator

from unnoise.check.examples import checkpoint, together, weights
from unnoise.check.items import RunAdapter
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN607", name="embedding-of-another-width", severity=ERROR, checks="embedding")
WIDTHS = {"sd1": {768}, "sd2": {1024}, "sdxl": {768, 1280}}


def check(one: RunAdapter) -> Iterator[Finding]:
    expected, weights = WIDTHS.get(one.base.family), one.use.adapter.weights
    widths = {entry.shape[-1] for entry in weights.header.tensors.values() if entry.shape} if weights else set()
    if not expected or not widths or widths == expected or (one.base.variant == "refiner" and widths == {1280}):
        return
    message = f"the embedding {one.use.adapter.name} does not fit the text encoder of {one.base}"
    suggestion = f"use an embedding trained for {one.base.family}"
    yield Finding(RULE, one.use.place, message, f"{_spelled(widths)} wide", _spelled(expected), suggestion)


def _spelled(widths: set[int]) -> str:
    return " and ".join(map(str, sorted(widths)))


def bad() -> Subject:
    return together(checkpoint("sdxl"), weights({"emb_params": ("F32", (8, 768))}, path="style.safetensors"))


def good() -> Subject:
    tables = {"clip_l": ("F32", (8, 768)), "clip_g": ("F32", (8, 1280))}
    return together(checkpoint("sdxl"), weights(tables, path="style.safetensors"))
