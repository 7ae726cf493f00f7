"""Folders of training images: missing captions, and caches older than their images or captions.

No file is opened: only names and times are read, and only in folders inside the folder of the naming file or inside the
working directory.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unnoise.check.subject import Dataset, Located, Location, Training

MOST = 20_000  # entries of a folder
FOLDERS = 100  # named in one file
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl"}
CAPTION = ".caption"  # Source: sd-scripts, library/train_util.py, --caption_extension
LATER = 60.0  # seconds; copying a folder may make an image newer than its cache by less
# Source: sd-scripts, library/strategy_*.py; what ends in "te.npz" or "te_outputs.npz" holds a caption, not an image
CACHE = re.compile(r"(_\d{3,5}x\d{3,5})?(_(sd|sdxl|sd3|flux|lumina|hi|anima))?\.npz|_(\w{1,9}_)?te(_outputs)?\.npz")


def datasets_of(trainings: Sequence[Training], path: str) -> Iterator[Dataset]:
    """Describe the folders that trainings of sd-scripts name."""
    visited: set[Path] = set()
    for training in trainings:
        for key in ("image_dir", "train_data_dir"):
            setting = training.get(key)
            folder = _inside(setting.value, path) if setting and training.tool == "kohya" else None
            if setting is None or folder is None or folder in visited or len(visited) >= FOLDERS:
                continue
            visited.add(folder)
            folders = [folder] if key == "image_dir" else list(_repeated(folder))
            yield from (describe_folder(one, training, setting.place) for one in folders[:FOLDERS])


def describe_folder(folder: Path, training: Training, place: Location) -> Dataset:
    """Describe one folder of images, as `training` reads it."""
    extension = _extension(training.get("caption_extension"))
    files = _files(folder)
    pictures = [name for name in sorted(files) if os.path.splitext(name)[1].lower() in PICTURES]
    missing: list[str] = []
    if not training.get("metadata_file") and not training.get("in_json"):
        missing = [name for name in pictures if os.path.splitext(name)[0] + extension not in files]
    if len(missing) == len(pictures) and not _has_captions(pictures, files) and _is_named(training):
        missing = []  # trained on the class name alone, as in DreamBooth
    stale = _stale(pictures, files, extension) if _is_cached(training) else []
    return Dataset(place, len(pictures), tuple(missing), tuple(stale), extension)


def _inside(value: object, path: str) -> Path | None:
    """Return a named folder if it is inside the folder of the naming file or the working directory."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 1000:
        return None
    for home in (os.path.abspath(os.path.dirname(path)), os.getcwd()):
        folder = Path(os.path.normpath(os.path.join(home, value)))
        try:
            if (
                folder.is_relative_to(home)
                and folder.resolve().is_relative_to(Path(home).resolve())
                and folder.is_dir()
            ):
                return folder
        except (OSError, RuntimeError, ValueError):
            continue
    return None


def _repeated(folder: Path) -> Iterator[Path]:
    """List the folders "10_name" of a folder, as sd-scripts reads it."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry, _ in zip(entries, range(MOST), strict=False) if _is_folder(entry))
    except OSError:
        return
    yield from (folder / name for name in found if re.match(r"[1-9]\d*(_|$)", name))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _files(folder: Path) -> dict[str, float]:
    """List the files of a folder with the time of their last change."""
    found: dict[str, float] = {}
    try:
        with os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(MOST), strict=False):
                if entry.is_file():
                    found[entry.name] = entry.stat().st_mtime
    except OSError:
        return found
    return found


def _extension(setting: Located[object] | None) -> str:
    if setting is None or not isinstance(setting.value, str) or not setting.value:
        return CAPTION
    return setting.value if setting.value.startswith(".") else f".{setting.value}"


def _has_captions(pictures: Sequence[str], files: Mapping[str, float]) -> bool:
    stems = (os.path.splitext(name)[0] for name in pictures)
    return any(stem + ending in files for stem in stems for ending in (".txt", CAPTION))


def _is_named(training: Training) -> bool:
    return training.get("class_tokens") is not None or training.get("image_dir") is None


def _is_cached(training: Training) -> bool:
    """Return whether caches may be read; a file with data sets alone does not state it."""
    keys = ("cache_latents_to_disk", "cache_text_encoder_outputs_to_disk", "in_json")
    return training.base is None or any((setting := training.get(key)) is not None and setting.value for key in keys)


def _stale(pictures: Sequence[str], files: Mapping[str, float], extension: str) -> list[str]:
    """List caches that are older than their image or caption."""
    sources = {os.path.splitext(name)[0]: name for name in pictures}
    found = []
    for name in sorted(files):
        cache = CACHE.search(name) if name.endswith(".npz") else None
        stem = name[: cache.start()] if cache else ""
        if cache is None or stem not in sources:
            continue
        source = stem + extension if re.search(r"te(_outputs)?\.npz$", name) else sources[stem]
        if files.get(source, 0.0) > files[name] + LATER:
            found.append(name)
    return found
