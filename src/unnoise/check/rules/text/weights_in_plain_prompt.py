"""Prompt weights in AUTOMATIC1111's notation, in a prompt that is read as plain text.

Why: diffusers encodes the prompt unchanged. "(sunset:1.3)" is then 7 tokens of brackets, digits and signs with weight
1. 6 of the 75 available tokens are lost, and the signs may influence the image.
Shown: the weighted words and how they are read.
Instead: encode the prompt with compel or sd_embed and pass prompt_embeds, or use
custom_pipeline="lpw_stable_diffusion".
Fix: show.
Source: huggingface/diffusers#2431; damian0815/compel#16; AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py
(parse_prompt_attention, get_learned_conditioning_prompt_schedules).
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.text._shared import fewest, is_plain, prompts, shortened
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN802", name="weights-in-plain-prompt", severity=WARN, checks="run")
WEIGHTED = re.compile(
    r"\([^()\[\]\n]{1,200}(?:(?<!\d):\s*\d{1,2}|:\s*\d{0,2}\.\d{1,3})\s*\)"  # (word:1.3), not (ratio 16:9)
    r"|\(\([^()\n]{1,200}\)\)"  # ((word))
    r"|\[[^\[\]:\n]{0,100}:(?!\s*\d+:)[^\[\]:\n]{0,100}:\s*\d{0,3}\.?\d{1,3}\]"  # [from:to:0.5], not [at:10:30]
)
INSTEAD = "encode it with compel or sd_embed and pass prompt_embeds"


def check(run: GenerationRun) -> Iterator[Finding]:
    for prompt in prompts(run) if is_plain(run) else ():
        found = WEIGHTED.search(prompt.value)
        if found:
            message = "this pipeline reads weights in the prompt as plain text"
            measured = f"{shortened(found[0])!r} as {fewest(found[0])} tokens or more of weight 1"
            yield Finding(RULE, prompt.place, message, measured, "a weight with effect", INSTEAD, fix=Fix.show(INSTEAD))


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe("a lighthouse, (sunset:1.3), calm sea", num_inference_steps=30)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe("a lighthouse (at sunset), calm sea", num_inference_steps=30)
    """)
