"""Prompts that change from step to step, "[from:to:when]" and "[a|b]", and prompts that AND joins.

Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py; Liu et al. 2022, arXiv 2206.01714, for AND.
"""

import re
import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Union

from unnoise.errors import InputError, InputWarning

PROMPTS = 8  # that AND joins
HEAVIEST = 20.0  # weight of one of them, positive or negative
TEXTS = 128  # different ones, that a prompt becomes in its steps
TOKEN = re.compile(r"\\.|[\\\[\]():|]|[^\\\[\]():|]+", re.S)
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")
AND = re.compile(r"\bAND\b")
WEIGHT = re.compile(r"(?<!\\):\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$")
PAIRS = {"(": ")", "[": "]"}

Node = Union[str, tuple["Node", ...], "Switch", "Turn"]


@dataclass(frozen=True, slots=True)
class JoinedPrompt:
    """One of the prompts that AND joins: its weight, and its text at each step, or one text for all steps."""

    texts: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Switch:
    """`[before:after:when]`: before up to a step, counted from 1, then `after`."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    when: int

    def at(self, step: int) -> tuple[Node, ...]:
        """Return what stands there at a step."""
        return self.before if step <= self.when else self.after


@dataclass(frozen=True, slots=True)
class Turn:
    """`[a|b]`: the next of its texts at each step."""

    texts: tuple[tuple[Node, ...], ...]

    def at(self, step: int) -> tuple[Node, ...]:
        """Return what stands there at a step."""
        return self.texts[(step - 1) % len(self.texts)]


def parts(prompt: str, steps: int) -> tuple[JoinedPrompt, ...]:
    """Split a prompt at AND, and find the text of each part at each step.

    Raises InputError for too many parts or texts, and for numbers that are out of range.
    """
    pieces = AND.split(prompt)
    if len(pieces) > PROMPTS:
        raise InputError(f"prompt: {len(pieces)} prompts joined by AND: at most {PROMPTS} are allowed")
    found = []
    for piece in pieces:
        weight = WEIGHT.search(piece)
        if weight and len(pieces) == 1:
            raise InputError(
                f"prompt: {weight[0].strip()!r} at its end is the weight of a whole prompt, which acts with AND only; "
                rf"for plain text, write '\{weight[0].strip()}'"
            )
        value = float(weight[1]) if weight else 1.0
        if abs(value) > HEAVIEST:
            raise InputError(f"prompt: weight {value:g} of a prompt joined by AND: -{HEAVIEST:g} to {HEAVIEST:g}")
        found.append(JoinedPrompt(schedule(piece[: weight.start()].rstrip() if weight else piece, steps), value))
    return tuple(found)


def schedule(prompt: str, steps: int) -> tuple[str, ...]:
    """Return the text of a prompt at each step, or one for all steps."""
    nodes, changes = _parsed(prompt, steps)
    if not changes:
        return (prompt,)
    texts = tuple(_text(nodes, step) for step in range(1, steps + 1))
    if len(set(texts)) > TEXTS:
        raise InputError(f"prompt: becomes {len(set(texts))} different texts in {steps} steps: at most {TEXTS}")
    return texts


def _text(nodes: tuple[Node, ...], step: int) -> str:
    """Write down the text of a step, without recursion."""
    left, words = list(reversed(nodes)), list[str]()
    while left:
        node = left.pop()
        if isinstance(node, str):
            words.append(node)
        else:
            left.extend(reversed(node if isinstance(node, tuple) else node.at(step)))
    return "".join(words)


@dataclass(slots=True)
class _Frame:
    """What stands behind an open bracket so far: nodes, and the places of ":" and "|" among them."""

    bracket: str
    nodes: list[Node] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)

    def add(self, token: str) -> None:
        if token in (":", "|"):
            self.marks.append(len(self.nodes))
        self.nodes.append(token)

    def closed(self, steps: int) -> Node | None:
        """Return the node of a closed bracket, None where it is not of the grammar, and so plain text."""
        kinds = "".join(str(self.nodes[at]) for at in self.marks)
        if kinds == "" or (self.bracket == "(" and kinds == ":"):
            return (self.bracket, *self.nodes, PAIRS[self.bracket])
        edges = [-1, *self.marks, len(self.nodes)]
        split = [tuple(self.nodes[low + 1 : high]) for low, high in pairwise(edges)]
        if self.bracket == "[" and set(kinds) == {"|"}:
            return Turn(tuple(split))
        words = split[-1]
        number = NUMBER.fullmatch("".join(map(str, words))) if all(isinstance(one, str) for one in words) else None
        if self.bracket == "[" and kinds in (":", "::") and number:
            return Switch(split[0] if kinds == "::" else (), split[-2], _when(number[1], steps))
        return None


def _parsed(prompt: str, steps: int) -> tuple[tuple[Node, ...], int]:
    """Parse a prompt, and count what changes in it. Brackets that do not fit are plain text, as are those around."""
    frames, changes = [_Frame("")], 0
    for token in TOKEN.findall(prompt):
        if token in PAIRS:
            frames.append(_Frame(token))
        elif token not in (")", "]"):
            frames[-1].add(token)
        else:
            node = frames[-1].closed(steps) if PAIRS.get(frames[-1].bracket) == token else None
            if node is None:
                _flatten(frames)
                node = token
            else:
                frames.pop()
            frames[-1].nodes.append(node)
            changes += isinstance(node, Switch | Turn)
    _flatten(frames)
    if changes and "|" in frames[0].nodes:
        raise InputError(r"prompt: '|' outside of '[a|b]' together with a schedule; for plain text, write '\|'")
    return tuple(frames[0].nodes), changes


def _flatten(frames: list[_Frame]) -> None:
    """Take open brackets as plain text; what is complete within them stays."""
    for frame in frames[1:]:
        frames[0].nodes += [frame.bracket, *frame.nodes]
    del frames[1:]


def _when(text: str, steps: int) -> int:
    """Return the last step of what stands first: a number with a point is a share of the steps."""
    value = float(text)
    share = "." in text
    if value < 0 or (share and value > 1):
        raise InputError(
            f"prompt: '[from:to:{text}]': a share of the steps from 0.0 to 1.0, or a whole number of steps"
        )
    if not share and value >= steps:
        warnings.warn(f"prompt: '[from:to:{text}]': never changes in {steps} steps", InputWarning, stacklevel=2)
    return min(steps, int(value * steps if share else value))
