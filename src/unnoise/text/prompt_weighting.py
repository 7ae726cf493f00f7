"""Prompt weighting, "(word:1.3)": a syntax of other programs that tokenizers do not know.

As plain text, brackets and numbers become tokens that change the image without a meaning. A prompt with weights is
therefore refused unless the caller chooses a treatment: "apply" or "literal".
"""

import re
from typing import Final, Literal

from unnoise.errors import InputError

PromptWeighting = Literal["refuse", "apply", "literal"]
PROMPT_WEIGHTINGS: Final[tuple[PromptWeighting, ...]] = ("refuse", "apply", "literal")
WEIGHTED = re.compile(r"\(([^()\[\]]*?):\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*\)")
LEAST, MOST = 0.0, 3.0  # outside this range, features are unlike any that an encoder gives


def refuse(prompt: str) -> None:
    """Raise InputError for a prompt with word weights."""
    found = WEIGHTED.search(prompt)
    if found:
        raise InputError(
            f"prompt: {found[0]!r} is a word weight, which a text encoder would encode as plain characters; "
            f"prompt_weighting 'apply' applies it, 'literal' encodes it as it is"
        )


def check_unweighted(prompt: str, prompt_weighting: PromptWeighting) -> None:
    """Raise InputError for word weights, and for their application, which most text encoders do not support."""
    if prompt_weighting == "apply":
        raise InputError(
            "prompt_weighting 'apply': this model's text encoder cannot apply weights; 'literal' or 'refuse'"
        )
    if prompt_weighting == "refuse":
        refuse(prompt)


def weighted(prompt: str) -> list[tuple[str, float]]:
    """Split a prompt into segments with their weights, 1 outside of "(words:weight)".

    Raises InputError for a weight out of range and for brackets without a weight, "((word))" and "[word]".
    """
    segments: list[tuple[str, float]] = []
    at = 0
    for found in WEIGHTED.finditer(prompt):
        weight = float(found[2])
        if not LEAST <= weight <= MOST:
            raise InputError(f"prompt: weight {weight:g} of {found[1]!r}: {LEAST:g} to {MOST:g} is allowed")
        segments += [(prompt[at : found.start()], 1.0), (found[1], weight)]
        at = found.end()
    segments.append((prompt[at:], 1.0))
    if any(bracket in text for text, _ in segments for bracket in ("((", "))", "[", "]")):
        raise InputError("prompt: brackets without a weight, '((word))' or '[word]'; write the weight: '(word:1.1)'")
    return [(text, weight) for text, weight in segments if text]
