"""List and read folders: diffusers folders as a whole, and the files to check in all others."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from unnoise.check.index import INDEX
from unnoise.check.read.file_kinds import CHECKED, LONGEST
from unnoise.check.read.folder import read_folder
from unnoise.check.subject import Subject
from unnoise.errors import InputError
from unnoise.formats.header import Header, read_header
from unnoise.formats.open_file import inside, read_text

MOST = 100_000  # entries of a folder that are read
SKIPPED = {"node_modules", "__pycache__", "site-packages"}


def is_model_folder(path: Path) -> bool:
    """Return whether a folder is a pipeline of diffusers, or one component of it."""
    return (path / INDEX).is_file() or ((path / "config.json").is_file() and _holds_weights(path))


def _holds_weights(path: Path) -> bool:
    return any(path.glob("*.safetensors")) or any(path.glob("*.bin"))


def open_folder(path: Path, changed: Mapping[str, str] = MappingProxyType({})) -> Subject:
    """Read a diffusers folder: its JSON texts, or the changed ones, and the headers of its safetensors files."""
    texts: dict[str, str] = {}
    headers: dict[str, Header] = {}
    broken: dict[str, str] = {}
    others: list[str] = []
    for file in _files(path, depth=2):
        name = file.relative_to(path).as_posix()
        try:
            if file.suffix == ".json" and "tokenizer" not in name:
                texts[name] = changed[str(file)] if str(file) in changed else read_text(file, LONGEST, path)
            elif file.suffix == ".safetensors":
                headers[name] = read_header(inside(file, path))
            else:
                others.append(name)
        except InputError as error:
            broken[str(file)] = str(error).removeprefix(f"{file}: ")
            others.append(name)
    subject = read_folder(str(path), texts, headers, others)
    faults = (replace(fault, message=broken.get(fault.place.path, fault.message)) for fault in subject.faults)
    return replace(subject, faults=tuple(faults))


def files(path: Path) -> Iterator[Path]:
    """List what to check under a folder: diffusers folders as a whole, and files with a known extension."""
    if is_model_folder(path):
        yield path
        return
    for found in _files(path, depth=32, whole=True):
        if found.suffix.lower() in CHECKED or found.is_dir():
            yield found


def _files(path: Path, depth: int, whole: bool = False) -> Iterator[Path]:
    """List the files of a folder in order, without following links.

    Args:
        path: of the folder
        depth: levels of folders below it
        whole: list diffusers folders and unreadable ones as a whole; leave out SKIPPED

    Returns:
        the paths
    """
    left = MOST
    stack = [(path, depth)]
    while stack and left:
        folder, below = stack.pop()
        if whole and folder != path and is_model_folder(folder):
            yield folder
            continue
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if not whole:
                raise
            yield folder
            continue
        left = max(left - len(listed), 0)
        yield from (Path(entry.path) for entry in listed if entry.is_file(follow_symlinks=not whole))
        inner = [entry for entry in listed if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
        if below:
            stack += [(Path(entry.path), below - 1) for entry in reversed(inner) if entry.name not in SKIPPED]
