"""Helpers of the rules of prompts: the prompts of a run, whether they are plain text, and how long they are."""

import html
import re
from collections.abc import Iterator

from unnoise.check.rules.guidance._shared import negative_acts, weight
from unnoise.check.subject import GenerationRun, Located, Subject
from unnoise.check.tables.pipelines import PIPELINES

# Words, single digits, runs of other signs: CLIP's tokenizer never joins these parts, so that each is at least
# one token. Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.pat
PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+")
LONGEST = 20_000  # letters of a prompt that are read
ANY = ("", "DiffusionPipeline", "AutoPipelineForText2Image", "AutoPipelineForImage2Image", "AutoPipelineForInpainting")


def prompts(run: GenerationRun) -> Iterator[Located[str]]:
    """List the prompt and the negative prompt of a run, without one that has no effect, which UN405 finds."""
    scale = weight(run)
    is_dropped = run.tool == "diffusers" and scale is not None and not negative_acts(run, scale)
    for prompt in (run.prompt, None if is_dropped else run.negative):
        if prompt is not None and prompt.value:
            yield Located(prompt.value[:LONGEST], prompt.place)


def is_plain(run: GenerationRun) -> bool:
    """Return whether diffusers reads the prompt as plain text; community pipelines may not."""
    known = run.pipeline in PIPELINES or run.pipeline in ANY
    return run.tool == "diffusers" and known and "from_pretrained.custom_pipeline" not in run.others


def takes_text_as_it_is(run: GenerationRun, subject: Subject) -> bool:
    """Return whether a run reads the syntax of other tools as plain text."""
    if run.tool == "comfyui":
        return not any(word in text for text in subject.texts.values() for word in ("Wildcard", "LoraTag", "rgthree"))
    return is_plain(run)


def fewest(prompt: str) -> int:
    """Return a lower bound of the number of CLIP tokens, without begin and end; non-ASCII words count 1."""
    words = html.unescape(html.unescape(prompt[:LONGEST])).lower().split()
    return sum(len(PIECES.findall(word)) if word.isascii() else 1 for word in words)


def shortened(text: str, most: int = 40) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
