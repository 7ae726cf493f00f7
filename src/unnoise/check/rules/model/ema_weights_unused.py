"""A checkpoint contains averaged weights that loaders ignore.

Why: published images were drawn with the average over the last steps of training. Most loaders read `model.*` and
ignore `model_ema.*`, which also doubles the size of the file: 7.7 GB instead of 4.3 GB for SD 1.5.
Shown: the number of averaged tensors and their size.
Instead: use the file with the average alone (emaonly), or copy model_ema.* over model.diffusion_model.*.
Fix: none.
Source: runwayml/stable-diffusion-v1-5, model card; diffusers, scripts/convert_original_stable_diffusion_to_diffusers.py
(--extract_ema); huggingface/diffusers#1818.
"""

from collections.abc import Iterator

from unnoise.check.examples import weights
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.sample_headers import SAMPLE_HEADERS
from unnoise.check.subject import Location, Subject, Weights
from unnoise.families.tensors import ema

RULE = Rule(id="UN205", name="ema-weights-unused", severity=WARN)
FEWEST = 100  # averaged tensors; a network has 600 or more
LIVE = "model.diffusion_model."


def check(subject: Subject) -> Iterator[Finding]:
    for one in subject.weights:
        yield from _unused(one, one.place, "this file contains averaged weights that loaders ignore", True)
    reported: set[Location] = set()
    for run in subject.runs:
        model = run.model
        if model is None or model.weights is None or model.place in reported or run.tool == "unnoise":
            continue
        reported.add(model.place)
        yield from _unused(
            model.weights, model.place, "the averaged weights of this file are not the ones that are loaded", False
        )


def _unused(one: Weights, place: Location, message: str, is_alone: bool) -> Iterator[Finding]:
    tensors = one.header.tensors
    count = ema(tensors)
    if count <= FEWEST:
        return
    size = sum(entry.end - entry.start for name, entry in tensors.items() if name.startswith("model_ema."))
    both = any(name.startswith(LIVE) for name in tensors)
    message = message if both else "this file contains only averaged weights, under names that loaders do not read"
    suggestion = "use the file with the average alone (emaonly), or copy model_ema.* over model.diffusion_model.*"
    measured = f"{count} tensors model_ema.*, {size / 1e9:.2f} GB"
    yield Finding(RULE, place, message, measured, "0", suggestion, NOTE if is_alone and both else WARN)


def bad() -> Subject:
    averaged = {f"model_ema.diffusion_modeloutput_blocks{number}weight": ("F32", (320, 320)) for number in range(600)}
    return weights({**SAMPLE_HEADERS["sd1", ""], **averaged}, path="v1-5-pruned.safetensors")


def good() -> Subject:
    return weights(SAMPLE_HEADERS["sd1", ""], path="v1-5-pruned-emaonly.safetensors")
