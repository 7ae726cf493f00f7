"""Find the syntax of AUTOMATIC1111/stable-diffusion-webui in a prompt, and take "<lora:NAME:WEIGHT>" out of it."""

import re

from unnoise.errors import InputError

SYNTAX = re.compile(
    r"<(?:lora|lyco|hypernet):[^<>]+>"
    r"|\([^()\[\]:]*:\s*[+-]?[.\d]+\s*\)"  # (cat:1.3)
    r"|\([^()\[\]:]*\([^()]*\)[^()\[\]:]*:\s*[+-]?[.\d]+\s*\)"  # (a (cat):1.3)
    r"|\(\([^()]*\)\)"  # ((cat))
    r"|:\s*[+-]?[.\d]+\s*\)"  # the end of (a ((cat)):1.3)
    r"|\[[^\[\]]*\]?"  # [cat], [cat:dog:0.5], [cat|dog]
    r"|\b(?:AND|BREAK)\b"
    r"|\\[()\[\]]"
)
PARENTHESES = re.compile(r"\((?=[^()\w]*\w)[^()]*\)?")  # a plain word weight, (cat), and plain English as well
UNSUPPORTED = re.compile(  # of NovelAI and dynamic prompts, of compel, of ComfyUI
    r"\{[^{}]*\}|\b__\w+__|(?<!\w)\w{2,}(?:\+\+|--)|\bembedding:\w+"
)
NETWORK = re.compile(r"<(\w+):([^<>]+)>")
ADAPTERS = ("lora", "lyco")
SHOWN = 40  # letters of a find that a message shows


def found(prompt: str, parentheses: bool = True) -> list[str]:
    """Return each piece of a prompt that the grammar would take as syntax, shortened.

    Args:
        prompt: of a person.
        parentheses: whether "(cat)" counts, which plain English has as well.
    """
    pieces = [match[0] for match in SYNTAX.finditer(prompt)]
    if parentheses and not pieces:
        pieces = [match[0] for match in PARENTHESES.finditer(prompt)]
    return _shortened(pieces)


def unsupported(prompt: str) -> list[str]:
    """Return each piece of a prompt that is syntax of other programs than A1111, which nothing here applies."""
    return _shortened([match[0] for match in UNSUPPORTED.finditer(prompt)])


def _shortened(pieces: list[str]) -> list[str]:
    return [piece if len(piece) <= SHOWN else piece[: SHOWN - 3] + "..." for piece in dict.fromkeys(pieces)]


def without_networks(prompt: str) -> str:
    """Return a prompt without "<lora:NAME:WEIGHT>" and its like."""
    return NETWORK.sub("", prompt)


def split_adapters(prompt: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """Take "<lora:NAME:WEIGHT>" out of a prompt, and return the rest with names and weights, 1 where none is written.

    Raises InputError for a network that is no LoRA, for two weights that differ, and for a weight that is no number.
    """
    return without_networks(prompt), tuple(_adapter(match[1], match[2], match[0]) for match in NETWORK.finditer(prompt))


def _adapter(kind: str, arguments: str, whole: str) -> tuple[str, float]:
    name, *weights = arguments.split(":")
    where = f"prompt: {whole[:SHOWN]!r}"
    if kind not in ADAPTERS:
        raise InputError(
            f"{where}: no network {kind[:SHOWN]!r} can be applied here, only <lora:NAME:WEIGHT>; leave it out"
        )
    try:
        numbers = {float(weight) for weight in weights} or {1.0}
    except ValueError:
        raise InputError(f"{where}: write it as <lora:NAME:WEIGHT>, with one number as its weight") from None
    if len(numbers) > 1:
        raise InputError(f"{where}: one weight for text encoder and denoiser; two that differ cannot be applied here")
    return name, numbers.pop()
