"""BREAK or AND in a tool that knows no such word.

Why: in AUTOMATIC1111 BREAK begins a new piece of 75 tokens, and AND asks the network once for each part. diffusers and
ComfyUI's own nodes read them as the words "break" and "and", 1 token each, and the parts stay one prompt.
Shown: the word, and how often it stands there.
Instead: in ComfyUI ConditioningConcat or ConditioningCombine; in diffusers parts that are encoded on their own.
Fix: show.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py (re_AND) and modules/sd_hijack_clip.py (BREAK);
ComfyUI, comfy/sd1_clip.py.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.rules.text._shared import prompts, takes_text_as_it_is
from unnoise.check.subject import Subject

RULE = Rule(id="UN810", name="break-keyword", severity=NOTE)
WORDS = re.compile(r"(?<=[\s,])(BREAK|AND)(?=[\s,:])")
INSTEAD = {
    "comfyui": "join two CLIPTextEncode by ConditioningConcat or ConditioningCombine",
    "diffusers": "encode the parts on their own and give prompt_embeds",
}


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        for said in prompts(run) if takes_text_as_it_is(run, subject) else ():
            found = WORDS.findall(said.value)
            if found and any(letter.islower() for letter in said.value):
                says = "this tool reads a keyword of AUTOMATIC1111 as a word of the prompt"
                measured = f"{found[0]}, {len(found)} times" if len(found) > 1 else found[0]
                yield Finding(RULE, said.place, says, measured, "0 of BREAK and AND", INSTEAD[run.tool])


def fix(subject: Subject, finding: Finding) -> Fix | None:
    return Fix("show", finding.instead)


def bad() -> Subject:
    return workflow(positive="a lighthouse at dawn BREAK gulls over the sea")


def good() -> Subject:
    return workflow(positive="a lighthouse at dawn, gulls over the sea")
