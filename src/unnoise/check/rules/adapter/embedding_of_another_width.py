"""A textual inversion has another width than the base's text encoder and is ignored, in whole or in half.

Why: an embedding replaces the vector of a word: 768 numbers in SD 1.x, 1024 in SD 2.x, 768 and 1280 for the two
encoders of SDXL. AUTOMATIC1111 skips one that does not fit, and the word is read as plain text; ComfyUI ignores it in
the encoder that it does not fit, so that at most half of it acts.
Shown: the widths in the file and those of the base; without the file, the name of a well-known embedding of SD 1.
Instead: use an embedding trained for this family.
Fix: none; it is not known which of the two is meant.
Source: Comfy-Org/ComfyUI, comfy/sd1_clip.py, "shape mismatch when trying to apply embedding";
AUTOMATIC1111/stable-diffusion-webui#14287; huggingface/diffusers#10373.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import checkpoint, together, weights
from unnoise.check.items import RunAdapter, loaded
from unnoise.check.rule import ERROR, WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN607", name="embedding-of-another-width", severity=ERROR)
WIDTHS = {"sd1": {768}, "sd2": {1024}, "sdxl": {768, 1280}}
# Embeddings that exist for SD 1 alone.   Source: the hub, gsdf/EasyNegative, yesyeahvh/bad-hands-5, embed/bad_prompt,
# nick-x-hacker/bad-artist; licyks/sd-embeddings, sd_1.5; civitai.com/models/4629, 16993, 71961 and 72437
OF_SD1 = (
    "easynegative", "easynegativev2", "bad-hands-5", "badhandv4", "bad-artist", "bad-artist-anime", "bad_prompt",
    "bad_prompt_version2", "ng_deepnegative_v1_75t", "ng_deepnegative_v1_64t", "verybadimagenegative_v1.3",
    "verybadimagenegative_v1.2-6400", "baddream", "unrealisticdream", "fastnegativev2", "bad-image-v2-39000",
    "bad-picture-chill-75v",
)  # fmt: skip
NAMES = "|".join(map(re.escape, OF_SD1))
WORD = re.compile(rf"(?<![\w.-])({NAMES})(?![\w-])", re.IGNORECASE)  # in AUTOMATIC1111, the bare name
EMBEDDING = re.compile(rf"embedding:(?:[\w-]+[/\\])?({NAMES})(?![\w-])", re.IGNORECASE)  # in ComfyUI
WRITTEN = {"a1111": WORD, "forge": WORD, "comfyui": EMBEDDING}


def check(subject: Subject) -> Iterator[Finding]:
    for one in loaded(subject, "embedding"):
        yield from _file(one)
    for run in subject.runs:
        for prompt in (run.prompt, run.negative):
            if prompt is not None and run.tool in WRITTEN:
                yield from _words(run, prompt)


def _file(one: RunAdapter) -> Iterator[Finding]:
    expected, weights = WIDTHS.get(one.base.family), one.use.adapter.weights
    widths = {entry.shape[-1] for entry in weights.header.tensors.values() if entry.shape} if weights else set()
    is_named = weights is None and WORD.search(one.use.adapter.name) is not None
    widths = WIDTHS["sd1"] if is_named else widths
    if not expected or not widths or widths == expected or (one.base.variant == "refiner" and widths == {1280}):
        return
    message = f"the embedding {one.use.adapter.name} does not fit the text encoder of {one.base}"
    suggestion, severity = f"use an embedding trained for {one.base.family}", WARN if is_named else ERROR
    yield Finding(RULE, one.use.place, message, f"{_spelled(widths)} wide", _spelled(expected), suggestion, severity)


def _words(run: GenerationRun, prompt: Located[str]) -> Iterator[Finding]:
    """Check the well-known embeddings that a prompt names."""
    family = run.model.identity.family if run.model else ""
    found = WRITTEN[run.tool].search(prompt.value) if family in WIDTHS and family != "sd1" else None
    if found:
        message = f"the embedding {found[1]} was made for SD 1 and does not fit the text encoder of {family}"
        measured, expected = f"{_spelled(WIDTHS['sd1'])} wide", _spelled(WIDTHS[family])
        yield Finding(RULE, prompt.place, message, measured, expected, f"use an embedding trained for {family}", WARN)


def _spelled(widths: set[int]) -> str:
    return " and ".join(map(str, sorted(widths)))


def bad() -> Subject:
    return together(checkpoint("sdxl"), weights({"emb_params": ("F32", (8, 768))}, path="style.safetensors"))


def good() -> Subject:
    tables = {"clip_l": ("F32", (8, 768)), "clip_g": ("F32", (8, 1280))}
    return together(checkpoint("sdxl"), weights(tables, path="style.safetensors"))
