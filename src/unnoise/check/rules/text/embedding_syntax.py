"""A textual inversion is named in ComfyUI's notation, in a tool with another notation.

Why: "embedding:name" is ComfyUI's notation. AUTOMATIC1111 and Forge use the bare name, diffusers the token from
loading. They read "embedding:name" as words, 3 tokens or more, and use 0 vectors of the embedding. Nodes of ComfyUI
write infotext too, so it is a note where the metadata states no version, and nothing where the version names ComfyUI.
Shown: the words.
Instead: the bare name in AUTOMATIC1111; the token of `load_textual_inversion(..., token=...)` in diffusers.
Fix: show.
Source: ComfyUI, comfy/sd1_clip.py, SDTokenizer (embedding_identifier); AUTOMATIC1111/stable-diffusion-webui,
modules/textual_inversion/textual_inversion.py; diffusers/loaders/textual_inversion.py.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.text._shared import is_plain, prompts, shortened
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN808", name="embedding-syntax", severity=WARN, checks="run")
NAMED = re.compile(r"\bembedding:[\w][\w./\\-]{0,100}")


def check(run: GenerationRun) -> Iterator[Finding]:
    for prompt in prompts(run) if _reads_words(run) else ():
        found = NAMED.search(prompt.value)
        if found:
            message = "this tool reads ComfyUI's notation for an embedding as words"
            name = found[0].removeprefix("embedding:")
            fix = Fix.show(f"write {name}")
            suggestion = f"write {name}"
            measured = shortened(found[0])
            expected = f"the bare name, {name}"
            grade = WARN if run.tool != "a1111" or "Version" in run.others else NOTE
            yield Finding(RULE, prompt.place, message, measured, expected, suggestion, grade, fix)


def _reads_words(run: GenerationRun) -> bool:
    version = run.others.get("Version")
    if run.tool == "a1111" and version is not None and "comfy" in version.value.lower():
        return False
    return run.tool in ("a1111", "forge", "sdcpp") or is_plain(run)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: embedding:EasyNegative, blurry
        Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: EasyNegative, blurry
        Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10.1
    """)
