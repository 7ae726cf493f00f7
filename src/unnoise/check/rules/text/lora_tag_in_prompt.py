"""A LoRA tag in the prompt, in a tool that does not read such tags.

Why: "<lora:name:0.8>" loads a LoRA in AUTOMATIC1111, Forge and stable-diffusion.cpp. diffusers and ComfyUI's own nodes
read it as words: about 9 tokens of the 75, and no LoRA is loaded. It is a note where a node loads the LoRA of the tag.
Shown: the tag.
Instead: `pipe.load_lora_weights(...)` and `pipe.set_adapters(...)`; in ComfyUI the node LoraLoader.
Fix: show.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/extra_networks.py; ComfyUI, comfy/sd1_clip.py, token_weights;
huggingface/diffusers#2431.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.text._shared import prompts, shortened, takes_text_as_it_is
from unnoise.check.subject import GenerationRun, Subject
from unnoise.families.file_names import last_part

RULE = Rule(id="UN807", name="lora-tag-in-prompt", severity=WARN, checks="run", with_subject=True)
TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>\n]{1,200}>")
LOADED = {
    "comfyui": "add a LoraLoader after the checkpoint",
    "diffusers": "load it with pipe.load_lora_weights",
}


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    for prompt in prompts(run) if takes_text_as_it_is(run, subject) else ():
        found = TAG.search(prompt.value)
        if found:
            is_loaded = _is_loaded(found[0], run)
            message = "this tool reads a LoRA tag as words" + ("" if is_loaded else " and loads no LoRA")
            suggestion = "leave the tag out" if is_loaded else LOADED[run.tool]
            expected, grade = ("no tag", NOTE) if is_loaded else ("a loaded LoRA", WARN)
            fix = Fix.show(suggestion)
            yield Finding(RULE, prompt.place, message, shortened(found[0]), expected, suggestion, grade, fix)


def _is_loaded(tag: str, run: GenerationRun) -> bool:
    """Return whether the run has the LoRA that a tag names, in whatever folder."""
    name = tag.strip("<>").split(":")[1].strip().lower()
    return any(last_part(use.adapter.name).lower() == name for use in run.adapters)


def bad() -> Subject:
    return workflow(positive="a lighthouse at dawn <lora:woodcut:0.8>")


def good() -> Subject:
    return workflow(positive="a lighthouse at dawn, woodcut")
