"""BREAK or AND is used in a tool without these keywords.

Why: in AUTOMATIC1111 BREAK starts a new chunk of 75 tokens, and AND calls the network once for each part. diffusers and
ComfyUI's own nodes read them as the words "break" and "and", 1 token each, and the parts remain one prompt.
Shown: the keyword and its number of occurrences.
Instead: in ComfyUI use ConditioningConcat or ConditioningCombine; in diffusers encode the parts separately.
Fix: show.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py (re_AND) and modules/sd_hijack_clip.py (BREAK);
ComfyUI, comfy/sd1_clip.py.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.rules.text._shared import prompts, takes_text_as_it_is
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN810", name="break-keyword", severity=NOTE, checks="run", with_subject=True)
WORDS = re.compile(r"(?<=[\s,])(BREAK|AND)(?=[\s,:])")
INSTEAD = {
    "comfyui": "join two CLIPTextEncode nodes with ConditioningConcat or ConditioningCombine",
    "diffusers": "encode the parts separately and pass prompt_embeds",
}


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    for prompt in prompts(run) if takes_text_as_it_is(run, subject) else ():
        found = WORDS.findall(prompt.value)
        if found and any(letter.islower() for letter in prompt.value):
            message = "this tool reads a keyword of AUTOMATIC1111 as a word of the prompt"
            measured = f"{found[0]}, {len(found)} times" if len(found) > 1 else found[0]
            fix = Fix.show(INSTEAD[run.tool])
            yield Finding(RULE, prompt.place, message, measured, "neither BREAK nor AND", INSTEAD[run.tool], fix=fix)


def bad() -> Subject:
    return workflow(positive="a lighthouse at dawn BREAK gulls over the sea")


def good() -> Subject:
    return workflow(positive="a lighthouse at dawn, gulls over the sea")
