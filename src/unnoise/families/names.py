"""Recognise a family by the name of a repository, a file or a class of diffusers.

A name is weaker evidence than a tensor. Only names of one family count: "realisticVision_v60" is unknown.
"""

import re
from functools import cache
from pathlib import PurePosixPath

from unnoise.families.identity import Identity
from unnoise.families.patterns import CLASSES, DISTILLED, PATTERNS
from unnoise.families.table import VARIANTS

LONGEST = 300  # characters of a name that are read
ENDINGS = (".safetensors", ".ckpt", ".gguf", ".pth", ".pt", ".bin", ".sft")
SIGNS = re.compile(r"[^a-z0-9]+")


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], str, str], ...]:
    return tuple((re.compile(pattern), family, variant) for pattern, family, variant in PATTERNS)


def by_name(name: str) -> Identity:
    """Recognise the published name of a repository or file; Identity() for an unknown name."""
    plain = _plain(name)
    for pattern, family, variant in _compiled():
        if pattern.search(plain):
            known = variant or _distilled(family, plain)
            return Identity(family, known, known_by=f"the name {name[:100]}") if family else Identity()
    return Identity()


def by_class(name: str) -> Identity:
    """Recognise a class of diffusers: a pipeline, or a network of one family."""
    start = max((start for start in CLASSES if name.startswith(start)), key=len, default="")
    rest = name[len(start) :]
    family, variant = CLASSES.get(start, ("", ""))
    if not family or rest[:1].isdigit() or rest[:1].islower() or rest[:1] == "_":
        return Identity()
    return Identity(family, variant, known_by=f"class {name[:100]}")


def _plain(name: str) -> str:
    """Return the last part of a name in lower case, without its ending, with "-" for each run of other characters."""
    last = PurePosixPath(name[-LONGEST:].replace("\\", "/")).name.lower()
    for ending in ENDINGS:
        last = last.removesuffix(ending)
    return SIGNS.sub("-", last).strip("-")


def _distilled(family: str, plain: str) -> str:
    known = VARIANTS.get(family, {})
    return next((variant for pattern, variant in DISTILLED if variant in known and re.search(pattern, plain)), "")
