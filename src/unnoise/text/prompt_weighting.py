r"""Weights of words, "((cat))", "[cat]", "(cat:1.3)", and BREAK: a syntax that tokenizers do not know.

As plain text, brackets and numbers become tokens that change the image without a meaning. The option
`prompt_weighting` chooses: "warn" encodes them as they are and names them in a warning, "refuse" is an error, "apply"
applies the grammar, "literal" encodes them as they are.

The grammar: "(a)" multiplies the features of a by 1.1, "[a]" by 1/1.1, "(a:1.3)" by 1.3. Brackets nest, and one
without its partner acts to the end. "\(", "\)", "\[", "\]" and "\\" are plain characters. BREAK begins a new chunk.

Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py, parse_prompt_attention.
"""

import re
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final, Literal

from unnoise.errors import InputError

PromptWeighting = Literal["warn", "refuse", "apply", "literal"]
PROMPT_WEIGHTINGS: Final[tuple[PromptWeighting, ...]] = ("warn", "refuse", "apply", "literal")
Segments = tuple[tuple[str, float], ...]  # texts, each with the weight of its features

FACTORS: Final = {"(": 1.1, "[": 1 / 1.1}
CLOSED: Final = {")": "(", "]": "["}
LEAST, MOST = 0.0, 3.0  # outside this range, features are unlike any that an encoder gives
DEPTH = 64  # brackets within each other
TOKEN = re.compile(r"\\[()\[\]\\]?|:\s*([+-]?[.\d]+)\s*\)|[()\[\]:]|[^\\()\[\]:]+")
BREAK = re.compile(r"\bBREAK\b")


def stretches(prompt: str) -> list[Segments]:
    """Split a prompt at BREAK, and each stretch into segments with their weights; neighbours differ in weight.

    Raises InputError for a weight that is out of range or no number, for brackets that nest too deep, and for BREAK
    within brackets.
    """
    pieces = _Pieces()
    for match in TOKEN.finditer(prompt):
        token, number = match[0], match[1]
        bracket = CLOSED.get(token[-1]) if number or len(token) == 1 else None
        if token in FACTORS:
            pieces.open(token)
        elif bracket and pieces.opened[bracket]:
            pieces.close(bracket, FACTORS[bracket] if number is None else _number(number))
        elif token[0] == "\\":
            pieces.add(token[1:])
        else:
            pieces.add_words(token)
    for bracket, factor in FACTORS.items():
        while pieces.opened[bracket]:
            pieces.close(bracket, factor)
    return [_merged(stretch) for stretch in pieces.found]


def without_weights(prompt: str, prompt_weighting: PromptWeighting) -> str:
    """Return the text for an encoder without weights. Raises InputError for weights and BREAK it cannot apply."""
    if prompt_weighting != "apply":
        return prompt
    found = stretches(prompt)
    if len(found) > 1:
        raise InputError("prompt: BREAK: this model's text encoder has no chunks; leave BREAK out")
    for text, weight in found[0]:
        if weight != 1:
            raise InputError(
                f"prompt: weight {weight:.3g} of {text[:40]!r}: this model's text encoder cannot apply weights; write "
                rf"'\(' and '\[' for plain brackets, or use prompt_weighting 'literal'"
            )
    return "".join(text for text, _ in found[0])


@dataclass(slots=True)
class _Pieces:
    """Pieces of text with their weights, by stretch, while brackets open and close."""

    found: list[list[list]] = field(default_factory=lambda: [[]])  # type: ignore[type-arg]
    opened: dict[str, list[int]] = field(default_factory=lambda: {bracket: [] for bracket in FACTORS})

    def add(self, text: str) -> None:
        self.found[-1].append([text, 1.0])

    def add_words(self, token: str) -> None:
        """Add a text, of which each BREAK begins a new stretch."""
        first, *others = BREAK.split(token) if "BREAK" in token else (token,)
        if others and any(self.opened.values()):
            raise InputError("prompt: BREAK within brackets: close them before it, and open them again behind it")
        self.add(first.rstrip() if others else first)
        for k, text in enumerate(others, 1):
            self.found.append([])
            self.add(text.strip() if k < len(others) else text.lstrip())

    def open(self, bracket: str) -> None:
        self.opened[bracket].append(len(self.found[-1]))
        if len(self.opened[bracket]) > DEPTH:
            raise InputError(f"prompt: more than {DEPTH} brackets {bracket!r} within each other; write '(word:1.3)'")

    def close(self, bracket: str, factor: float) -> None:
        for piece in self.found[-1][self.opened[bracket].pop() :]:
            piece[1] *= factor


def _merged(pieces: list[list]) -> Segments:  # type: ignore[type-arg]
    """Join neighbours of one weight. Raises InputError for a weight out of range."""
    filled = [(text, weight) for text, weight in pieces if text]
    runs = groupby(filled, key=itemgetter(1))
    segments = tuple(("".join(text for text, _ in run), weight) for weight, run in runs)
    for text, weight in segments:
        if not LEAST <= weight <= MOST:
            raise InputError(
                f"prompt: weight {weight:g} of {text[:40]!r}: {LEAST:g} to {MOST:g}; for plain text, write '\\('"
            )
    return segments


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"prompt: weight {text[:40]!r}: is no number; such as '(word:1.3)'") from None
