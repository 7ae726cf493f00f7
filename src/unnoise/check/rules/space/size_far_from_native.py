"""The image is much larger or smaller than the images of training.

Why: attention has one token for each latent cell. SD 1.5 was trained on 64 x 64 = 4096 tokens; at 1024 x 1024 it has
16384 and repeats the subject. SDXL at 512 x 512 has a quarter of its usual tokens and draws crops and blurred shapes.
Official examples use 0.35 to 2 times the native area for SDXL, up to 2.3 for SD 1.
It is a note where the size may be meant. Illustrious is trained at up to 1536x1536 from version 1.0 on, so up to 2.35
times for its fine-tunes; Qwen-Image was also trained at 256x256 and 640x640; a merge of SDXL Turbo, which was trained
at 512x512, may draw both sizes. So is a small image in a script that only tries whether its code works (in a function
that is named a test, or where the image is only measured or thrown away), and in a workflow that is named a warm-up or
is in a folder of tests. From 1.5 times on SD 1 and 2 repeat parts of the subject in some images, which is a note; UN119
has the one for SDXL. In ComfyUI nothing is found where a large image is composed of areas with prompts of their own, or
of latents.
Shown: the size, the ratio of its area to the native one, and the range of published examples.
Instead: draw at about the native area, in any aspect ratio, and upscale in a second pass.
Fix: none; the size is a choice.
Source: huggingface/diffusers#4867, #7142; PixArt-alpha/PixArt-sigma#135; Podell et al. 2023, arXiv:2307.01952, section
2.2 and appendix I; OnomaAIResearch/Illustrious-XL-v1.0, README.md; Wu et al. 2025, arXiv:2508.02324.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.space._shared import area_ratio, is_latent_size, is_plain, size_of
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN306", name="size-far-from-native", severity=WARN, checks="run")
TURBO = "turbo"
ILLUSTRIOUS = re.compile(r"illustrious|(?<![a-z])(?:il|ill|illu|ilxl|ilv\d+)(?![a-z])|noob", re.IGNORECASE)
EARLIER = {"qwen-image": 0.037}  # smallest share of the area in training: 256, then 640 and 1328 pixels
ILLUSTRIOUS_AREA = 2.35  # 1536x1536 over 1024x1024, and sizes rounded up
SQUARE, LARGE = ("sd1", "sd2"), 1.5  # families trained on square images alone; share of their area, 768x512


def check(run: GenerationRun) -> Iterator[Finding]:
    ratio, facts, size = area_ratio(run), run.facts, size_of(run)
    if ratio is None or facts is None or facts.size is None or size is None or run.model is None or not is_plain(run):
        return
    low, high = facts.area
    is_large = run.model.identity.family in SQUARE and ratio > LARGE
    if (low <= ratio <= high and not is_large) or is_latent_size(run):
        return
    native = f"{facts.size[0]}x{facts.size[1]}"
    message = f"the size is far from what {facts.title} was trained on"
    suggestion = f"draw at about the area of {native}, and upscale in a second pass"
    measured = f"{size[0]}x{size[1]}, {ratio:.2g} times the area of {native}"
    is_chosen = ratio < low and (run.trial or TURBO in run.model.name.lower())
    is_chosen = is_chosen or EARLIER.get(run.model.identity.family, low) <= ratio < low
    is_chosen = is_chosen or (high < ratio <= ILLUSTRIOUS_AREA and ILLUSTRIOUS.search(run.model.name) is not None)
    grade = NOTE if low <= ratio <= high or is_chosen else WARN
    expected = f"{low:.2g} to {LARGE if low <= ratio <= high else high:.2g} times"
    yield Finding(RULE, run.width.place if run.width else run.place, message, measured, expected, suggestion, grade)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 1024x1024, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, Version: v1.10.1
        """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 768x512, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, Version: v1.10.1
        """)
