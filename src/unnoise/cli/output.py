"""Where samples go: files are named, and known to be writable, before anything is computed."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unnoise.errors import InputError
from unnoise.formats.atomic import check_writable

HOME = Path("out")
Names = Sequence[tuple[str, int, str]]  # prompt, seed and label of each sample
LETTERS = 48  # of a prompt in the name of a file


def places(out: str | None, samples: Names, suffixes: Sequence[str] = (".png",)) -> tuple[list[Path], Path | None]:
    """Choose a file for each sample, and one for the sheet where there are several.

    Args:
        out: a file; a folder; None for the folder `out`. With several samples a file is the sheet, and the samples go
            to its folder.
        samples: prompt, seed and label of each.
        suffixes: that a file of one sample may have, the default first; a sheet is a .png.

    Raises:
        InputError: a file cannot be written there.
    """
    several = len(samples) > 1
    folder_asked = out is None or _is_folder(out, (".png",) if several else suffixes)
    names = _names(samples, suffixes[0] if folder_asked or several else Path(str(out)).suffix)
    if folder_asked:
        folder = HOME if out is None else Path(out)
        prompts = dict.fromkeys(prompt for prompt, _, _ in samples)
        together = Path(names[0]).stem if len(prompts) == 1 else f"{len(prompts)}-prompts-{samples[0][1]}"
        single, sheet = folder / names[0], folder / f"{together}-sheet.png"
    else:
        single = sheet = Path(str(out))
        folder = single.parent
        names = [f"{single.stem}-{name}" for name in names]
    if not several:
        check_writable(single)
        return [single], None
    files = [folder / name for name in names]
    for path in (sheet, max(files, key=lambda path: len(os.fsencode(path.name)))):
        check_writable(path)
    return files, sheet


def _is_folder(out: str, suffixes: Sequence[str]) -> bool:
    listed = " or ".join(suffixes)
    if not out:
        raise InputError(f"out '': must be a {listed} file or a folder")
    suffix = Path(out).suffix.lower()
    if out.endswith(os.sep) or os.path.isdir(out) or not suffix:
        return True
    if suffix not in suffixes:
        raise InputError(f"out {out!r}: files are written as {listed}; a folder with a dot in its name ends in '/'")
    return False


def _names(samples: Names, suffix: str) -> list[str]:
    """Name samples by prompt, label and seed; a name that occurs again gets a number."""
    found: list[str] = []
    taken: Counter[str] = Counter()
    for prompt, seed, label in samples:
        slug = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:LETTERS].rstrip("-") or "unconditional"
        name = f"{slug}{label and '-'}{label}-{seed}"
        taken[name] += 1
        found.append(f"{name}{f'.{taken[name]}' if taken[name] > 1 else ''}{suffix}")
    return found
