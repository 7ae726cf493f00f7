"""Recognise a family by the name of a repository, a file or a class of diffusers, or by the hash of a file.

A name is weaker evidence than a tensor. `by_name` knows published names of one family. `by_checkpoint` also knows
fine-tunes and merges: by a base inside their name, by a table of model cards, and by their folder.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from unnoise.families.file_names import SIGNS, folders, given_names, hyphenated, last_part
from unnoise.families.identity import Identity
from unnoise.families.markers import FOLDERS, MARKERS
from unnoise.families.patterns import CLASSES, DISTILLED, PATTERNS, Pattern
from unnoise.families.table import VARIANTS

SHORT_HASHES = (8, 10)  # letters of a hash in metadata of images: AUTOMATIC1111's of 2022, and the first of SHA-256
INPAINTED = ("sd1", "sdxl")  # families whose names of inpainting models say so
NOBODY = Identity()
MIXED = re.compile(r"(^|-)(merge[ds]?|merging|mix|mixed)(-|$)")  # with a model of other steps


@cache
def _compiled(patterns: tuple[Pattern, ...]) -> tuple[tuple[re.Pattern[str], str, str], ...]:
    return tuple((re.compile(pattern), family, variant) for pattern, family, variant in patterns)


def by_name(name: str) -> Identity:
    """Recognise the published name of a repository or file; Identity() for an unknown name."""
    return _published(name) or NOBODY


def by_checkpoint(name: str) -> Identity:
    """Recognise the name of a base model, also of a fine-tune or a merge.

    Args:
        name: of a file, with or without folders, or of a repository

    Returns:
        the family, and of the variant what changes the use of a model but not its steps; Identity() for an unknown name
    """
    published = _published(name)
    if published is not None:
        return published
    last = last_part(name)
    words = hyphenated(last)
    found = _first(words, MARKERS)
    if found is None:
        found = next((row for given in given_names(last) if (row := _checkpoints().get(given))), None)
    if found is not None:
        known_by = f"the name {last[:100]}" if found[0] else ""
        variant = found[1] or ("inpaint" if found[0] in INPAINTED and "inpaint" in words else "")
        return Identity(found[0], variant, known_by=known_by) if found[0] else NOBODY
    return _by_folder(name)


def by_adapter(name: str) -> Identity:
    """Recognise the name of a LoRA; Identity() also where its folder is that of another family.

    The name of a LoRA may be that of a look, such as one for SD 1.5 that imitates SDXL.
    """
    found, sorted_into = by_name(name), _by_folder(name)
    return NOBODY if sorted_into.known and sorted_into.family != found.family else found


def _by_folder(name: str) -> Identity:
    """Recognise the family by which a folder of models is named."""
    for folder in folders(name):
        family = FOLDERS.get(SIGNS.sub("", folder), "")
        if family:
            return Identity(family, known_by=f"the folder {folder[:100]}")
    return NOBODY


def by_hash(text: str) -> Identity:
    """Recognise a file by the short hash that an image records; Identity() for an unknown one."""
    row = _hashes().get(text.lower()) if len(text) in SHORT_HASHES else None
    return Identity(row[0], row[1], known_by=f"the hash {text}") if row else NOBODY


def by_class(name: str) -> Identity:
    """Recognise a class of diffusers: a pipeline, or a network of one family."""
    start = max((start for start in CLASSES if name.startswith(start)), key=len, default="")
    rest = name[len(start) :]
    family, variant = CLASSES.get(start, ("", ""))
    if not family or rest[:1].isdigit() or rest[:1].islower() or rest[:1] == "_":
        return NOBODY
    return Identity(family, variant, known_by=f"class {name[:100]}")


def _published(name: str) -> Identity | None:
    """Recognise a published name; Identity() for one of a family without facts, None for an unknown name."""
    plain = SIGNS.sub("-", last_part(name).lower()).strip("-")
    found = _first(plain, PATTERNS)
    if found is None:
        return None
    known = found[1] or _distilled(found[0], plain)
    if MIXED.search(plain) and VARIANTS.get(found[0], {}).get(known, {}).get("distilled"):
        known = ""
    return Identity(found[0], known, known_by=f"the name {name[:100]}") if found[0] else NOBODY


def _first(words: str, patterns: tuple[Pattern, ...]) -> tuple[str, str] | None:
    found = (pair for pattern, *pair in _compiled(patterns) if pattern.search(words))
    first = next(found, None)
    return (first[0], first[1]) if first else None


def _distilled(family: str, plain: str) -> str:
    known = VARIANTS.get(family, {})
    return next((variant for pattern, variant in DISTILLED if variant in known and re.search(pattern, plain)), "")


@cache
def _checkpoints() -> Mapping[str, tuple[str, str]]:
    """Read the table of fine-tunes and merges: the family by the name that the author gave."""
    return {row[0]: (row[1], "") for row in _rows("checkpoints.tsv")}


@cache
def _hashes() -> Mapping[str, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for row in _rows("hashes.tsv")}


def _rows(file: str) -> Iterable[list[str]]:
    lines = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]
