"""What the rules of training share: settings as numbers and switches, and the noise of Stable Diffusion's training."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from math import sqrt
from typing import Any

from unnoise.check.rule import Finding
from unnoise.check.subject import Place, Said, Script, Subject, Training
from unnoise.check.typed import finite

GUIDED = "guidance_scale"  # of a net that takes the weight as an input, in sd-scripts and diffusers alike
WITH_V = {"sd1", "sd2", "sdxl"}  # families of which there are models of both targets


def trainings(subject: Subject, *tools: str) -> Iterator[Training]:
    """List the trainings of some tools."""
    yield from (training for training in subject.trainings if training.tool in tools)


def is_on(training: Training, key: str) -> bool:
    """Say whether a switch is set, or a number that is not zero."""
    said = training.get(key)
    return said is not None and (said.value is True or bool(number(said)))


def number(said: Said[Any] | None) -> float | None:
    """Give a finite number; None for anything else, such as a switch."""
    return finite(said.value) if said else None


def word(training: Training, key: str) -> str:
    """Give a text in small letters; "" where it is not said."""
    said = training.get(key)
    return said.value.lower() if said and isinstance(said.value, str) else ""


def family(training: Training) -> str:
    """Give the family of the base; "" where it is not known."""
    return training.base.identity.family if training.base and training.base.identity.known else ""


def is_told_by_itself(training: Training) -> bool:
    """Say whether the base is known by its own name or tensors, and not only by the script that trains it."""
    if not family(training) or training.base is None:
        return False
    known_by = training.base.identity.known_by
    return not known_by.startswith("trained with") and "--v2" not in known_by


def is_remembered(subject: Subject) -> bool:
    """Say whether the training is over, and told by the file that came of it."""
    return bool(subject.weights)


def is_at(finding: Finding, place: Place) -> bool:
    """Say whether a finding is about what is said at a place."""
    found = finding.place
    lines = place.line is None or (place.line, place.column) == (found.line, found.column)
    return (found.path, found.keys) == (place.path, place.keys) and lines


def option(training: Training, key: str, value: object) -> str:
    """Write a setting as the tool reads it: `--key value` of a command, `key = value` of TOML."""
    if training.script:
        return f"--{key}" if value is True else f"--{key}={value}"
    shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return f"{key} = {shown}"


@cache
def alphas() -> tuple[float, ...]:
    """Compute alpha_bar of Stable Diffusion's 1000 times: betas scaled linearly from 0.00085 to 0.012."""
    first, last = sqrt(0.00085), sqrt(0.012)
    found, product = [], 1.0
    for i in range(1000):
        product *= 1 - (first + (last - first) * i / 999) ** 2
        found.append(product)
    return tuple(found)


@cache
def alphas_to_zero() -> tuple[float, ...]:
    """Compute the same with zero terminal SNR.   Source: Lin et al. 2023, arXiv:2305.08891, algorithm 1."""
    roots = [sqrt(alpha) for alpha in alphas()]
    stretch = roots[0] / (roots[0] - roots[-1])
    return tuple(((root - roots[-1]) * stretch) ** 2 for root in roots)


def snr(alpha: float) -> float:
    """Give the ratio of signal to noise, alpha_bar / (1 - alpha_bar)."""
    return alpha / (1 - alpha)


def place_of(script: Script, node: ast.AST) -> Place:
    """Give the place of a node, with columns in letters."""
    line, end_line = getattr(node, "lineno", 1), getattr(node, "end_lineno", None) or 1
    start = _letters(script, line, getattr(node, "col_offset", 0))
    return Place(script.path, (), line, start, end_line, _letters(script, end_line, getattr(node, "end_col_offset", 0)))


def _letters(script: Script, line: int, offset: int) -> int:
    """Turn bytes of a line into letters."""
    text = script.lines[line - 1] if line <= len(script.lines) else ""
    return offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))


def last_name(node: ast.AST) -> str:
    """Give the last part of `a.b.c` or of what is called; "" for anything else."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def spelled(node: ast.AST) -> str:
    """Spell `a.b.c`; "" where the chain starts with anything but a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < 20:
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def names_in(node: ast.AST) -> Mapping[str, ast.AST]:
    """Give every name and attribute in an expression by its last part."""
    return {last_name(one): one for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute)}
