"""What rules of prompts share: the prompts of a run, whether a tool takes them as plain text, and how long they are."""

import html
import re
from collections.abc import Iterator

from unnoise.check.subject import Run, Said, Subject
from unnoise.check.tables.pipelines import PIPELINES

# Words, digits one by one, runs of other signs: CLIP's tokenizer never joins what this parts, so that each is at least
# one token. Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.pat
PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+")
LONGEST = 20_000  # letters of a prompt that are looked at
ANY = ("", "DiffusionPipeline", "AutoPipelineForText2Image", "AutoPipelineForImage2Image", "AutoPipelineForInpainting")


def prompts(run: Run) -> Iterator[Said[str]]:
    """List the prompt and the negative prompt of a run."""
    for said in (run.prompt, run.negative):
        if said is not None and said.value:
            yield Said(said.value[:LONGEST], said.place)


def is_plain(run: Run) -> bool:
    """Say whether diffusers reads the prompt of a run as plain text: a class of its own, not a community pipeline."""
    known = run.pipeline in PIPELINES or run.pipeline in ANY
    return run.tool == "diffusers" and known and "from_pretrained.custom_pipeline" not in run.others


def takes_text_as_it_is(run: Run, subject: Subject) -> bool:
    """Say whether a run hands signs on that other tools act on: diffusers, and ComfyUI without nodes that parse."""
    if run.tool == "comfyui":
        return not any(word in text for text in subject.texts.values() for word in ("Wildcard", "LoraTag", "rgthree"))
    return is_plain(run)


def fewest(prompt: str) -> int:
    """Count tokens of CLIP from below, without those of begin and end; words beyond ASCII count as one each."""
    words = html.unescape(html.unescape(prompt[:LONGEST])).lower().split()
    return sum(len(PIECES.findall(word)) if word.isascii() else 1 for word in words)


def shortened(text: str, most: int = 40) -> str:
    """Give the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
