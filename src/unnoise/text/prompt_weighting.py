"""Weights of words in a prompt, "(word:1.3)": a syntax of other programs, which no tokenizer knows.

Read as plain text, brackets and numbers become tokens that change the picture without meaning anything. So a prompt
that uses them is refused, unless it is said what they are.
"""

import re
from typing import Final, Literal

from unnoise.errors import InputError

PromptWeighting = Literal["refuse", "apply", "literal"]
PROMPT_WEIGHTINGS: Final[tuple[PromptWeighting, ...]] = ("refuse", "apply", "literal")
WEIGHTED = re.compile(r"\(([^()\[\]]*?):\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*\)")
LEAST, MOST = 0.0, 3.0  # weights beyond which a prompt's features are nothing that an encoder gives


def refuse(prompt: str) -> None:
    """Raise InputError where a prompt gives weights to words."""
    found = WEIGHTED.search(prompt)
    if found:
        raise InputError(
            f"prompt: {found[0]!r} is a weight of words, a syntax that the text encoder reads as letters; "
            f"emphasis 'weigh' applies it, 'literal' reads it as it stands"
        )


def weighted(prompt: str) -> list[tuple[str, float]]:
    """Cut a prompt into pieces with their weights, 1 outside of "(words:weight)".

    Raises InputError for a weight out of range and for brackets of the older kind, "((word))" and "[word]".
    """
    pieces: list[tuple[str, float]] = []
    at = 0
    for found in WEIGHTED.finditer(prompt):
        weight = float(found[2])
        if not LEAST <= weight <= MOST:
            raise InputError(f"prompt: weight {weight:g} of {found[1]!r}: {LEAST:g} to {MOST:g}")
        pieces += [(prompt[at : found.start()], 1.0), (found[1], weight)]
        at = found.end()
    pieces.append((prompt[at:], 1.0))
    if any(bracket in text for text, _ in pieces for bracket in ("((", "))", "[", "]")):
        raise InputError("prompt: brackets without a number, '((word))' or '[word]': write the weight, '(word:1.1)'")
    return [(text, weight) for text, weight in pieces if text]
