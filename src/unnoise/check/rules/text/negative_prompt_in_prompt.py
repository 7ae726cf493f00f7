"""The metadata of an image is pasted into the prompt: its negative prompt or settings are read as prompt.

Why: only AUTOMATIC1111 and its forks split such a text, and only on request. Elsewhere "Negative prompt: blurry, extra
fingers" produces blur and fingers: each of its words has weight 1 in the prompt instead of being avoided.
Shown: the start of the pasted metadata.
Instead: pass the negative prompt separately (negative_prompt=..., a second CLIPTextEncode).
Fix: show.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py, parse_generation_parameters.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.text._shared import prompts, shortened
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN809", name="negative-prompt-in-prompt", severity=WARN, checks="run")
PASTED = re.compile(
    r"(?:^|[\n.,;])\s{0,4}(?:negative prompts?:.{0,40}|steps: \d+, sampler: .{0,40})", re.IGNORECASE | re.MULTILINE
)
INSTEAD = "pass the negative prompt and the settings separately"


def check(run: GenerationRun) -> Iterator[Finding]:
    for prompt in prompts(run) if run.tool in ("diffusers", "comfyui", "invokeai", "mflux") else ():
        found = PASTED.search(prompt.value)
        if found:
            message = "the metadata of another image is read as part of the prompt"
            measured = repr(shortened(found[0].strip(" \n.,;")))
            yield Finding(RULE, prompt.place, message, measured, "only the prompt", INSTEAD, fix=Fix.show(INSTEAD))


def bad() -> Subject:
    return workflow(positive="a lighthouse at dawn\nNegative prompt: blurry, people", negative="")


def good() -> Subject:
    return workflow(positive="a lighthouse at dawn", negative="blurry, people")
