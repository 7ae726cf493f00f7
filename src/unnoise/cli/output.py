"""Where pictures go: their names are settled, and known to be writable, before anything is computed."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unnoise.errors import InputError
from unnoise.formats.atomic import check_writable

HOME = Path("out")
LETTERS = 48  # of a prompt in the name of a file


def places(
    out: str | None, prompts: Sequence[str], seeds: Sequence[int], suffixes: Sequence[str] = (".png",)
) -> tuple[list[Path], Path | None]:
    """Name a file for each sample, prompt by prompt and seed by seed, and one for the sheet where there are several.

    out: a file; a folder; or None, which is the folder `out`. With several samples a file names the sheet, and they lie
    beside it. suffixes: that a file of one sample may have, the first unless another is asked for; a sheet is a .png.
    Raises InputError where it cannot be written.
    """
    several = len(prompts) * len(seeds) > 1
    folder_asked = out is None or _is_folder(out, (".png",) if several else suffixes)
    names = _names(prompts, seeds, suffixes[0] if folder_asked or several else Path(str(out)).suffix)
    if folder_asked:
        folder = HOME if out is None else Path(out)
        together = Path(names[0]).stem if len(prompts) == 1 else f"{len(prompts)}-prompts-{seeds[0]}"
        single, sheet = folder / names[0], folder / f"{together}-sheet.png"
    else:
        single = sheet = Path(str(out))
        folder = single.parent
        names = [f"{single.stem}-{name}" for name in names]
    if len(names) == 1:
        check_writable(single)
        return [single], None
    pictures = [folder / name for name in names]
    for path in (sheet, max(pictures, key=lambda path: len(os.fsencode(path.name)))):
        check_writable(path)
    return pictures, sheet


def _is_folder(out: str, suffixes: Sequence[str]) -> bool:
    listed = " or ".join(suffixes)
    if not out:
        raise InputError(f"out '': a {listed} file or a folder")
    suffix = Path(out).suffix.lower()
    if out.endswith(os.sep) or os.path.isdir(out) or not suffix:
        return True
    if suffix not in suffixes:
        raise InputError(f"out {out!r}: files are written as {listed}; a folder with a dot in its name ends in '/'")
    return False


def _names(prompts: Sequence[str], seeds: Sequence[int], suffix: str) -> list[str]:
    """Name samples by prompt and seed; a name that is taken gets a number behind it."""
    found: list[str] = []
    taken: Counter[str] = Counter()
    for prompt in prompts:
        slug = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:LETTERS].rstrip("-") or "unconditional"
        taken[slug] += 1
        again = f".{taken[slug]}" if taken[slug] > 1 else ""
        found += [f"{slug}-{seed}{again}{suffix}" for seed in seeds]
    return found
