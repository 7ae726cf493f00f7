"""A whole record pasted into the prompt: its negative prompt, or its line of settings, is read as what is wanted.

Why: only AUTOMATIC1111 and its kin take such a text apart, and only when it is pasted to be. Elsewhere "Negative
prompt: blurry, extra fingers" asks for blur and fingers: each of its words adds to the image with weight 1 instead
of being taken away.
Shown: where the record begins.
Instead: give the negative prompt as such (negative_prompt=..., a second CLIPTextEncode).
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
INSTEAD = "give the negative prompt on its own, and the settings where they belong"


def check(run: GenerationRun) -> Iterator[Finding]:
    for prompt in prompts(run) if run.tool in ("diffusers", "comfyui", "invokeai", "mflux") else ():
        found = PASTED.search(prompt.value)
        if found:
            message = "the record of another image is read as part of the prompt"
            measured = repr(shortened(found[0].strip(" \n.,;")))
            yield Finding(RULE, prompt.place, message, measured, "a prompt alone", INSTEAD, fix=Fix.show(INSTEAD))


def bad() -> Subject:
    return workflow(positive="a lighthouse at dawn\nNegative prompt: blurry, people", negative="")


def good() -> Subject:
    return workflow(positive="a lighthouse at dawn", negative="blurry, people")
