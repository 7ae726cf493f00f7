"""Resolve names in files: models of workflows and scripts, and the base of a LoRA, VAE or embedding."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from unnoise.check.coerce import text
from unnoise.check.model_files import ModelFiles, collect, endings
from unnoise.check.read.dispatch import read
from unnoise.check.read.file_kinds import WEIGHTS
from unnoise.check.read.stated_training import with_stated
from unnoise.check.subject import GenerationRun, Located, Location, Mask, NamedModel, ReadFault, Subject, Use
from unnoise.errors import InputError
from unnoise.families.tensors import refined

BASES = ("checkpoint", "denoiser")
ADAPTERS = ("lora", "controlnet", "embedding")
MASKS = ("mask_image", "mask")
MOST_NAMED = 8  # unresolved names that are listed


@dataclass(slots=True)
class Shelf:
    """Find models by name.

    Args:
        named: subjects of the files that the user named, by file name
        models: under the folders that the user named
        on_disk: files in the folder of the naming file may be opened
        texts: by path, read in place of what is in the files
        must_exist: a name that is not found is reported; otherwise only collected
        opened: subjects of the files that were opened
        missing: the names of files that were not found, each with the first place that names it
    """

    named: Mapping[str, Subject] = field(default_factory=dict)
    models: ModelFiles = field(default_factory=ModelFiles)
    on_disk: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)
    must_exist: bool = False
    opened: dict[Path, Subject] = field(default_factory=dict)
    missing: dict[str, Location] = field(default_factory=dict)

    def find(self, name: str, folder: Path) -> Subject | None:
        """Find a model: among the named files, then in the folder of the naming file, then under the models.

        Args:
            name: as the file writes it, with or without folders and ending
            folder: the folder of the file that names it

        Returns:
            None where it is not found
        """
        for known in endings(name):
            if known in self.named:
                return self.named[known]
        path = self.path(name, folder) or self.models.find(name)
        if path is None:
            return None
        if path not in self.opened:
            self.opened[path] = read(path, self.texts)
        return self.opened[path]

    def path(self, name: str, folder: Path) -> Path | None:
        """Find a named file or folder, never outside the folder of the file that names it.

        Args:
            name: a relative path; an absolute one, or one with "..", is not found
            folder: the folder of the file that names it

        Returns:
            None where it is not found
        """
        plain = PurePosixPath(name.replace("\\", "/"))
        if not self.on_disk or plain.is_absolute() or ".." in plain.parts or not plain.name:
            return None
        for last in endings(name):
            for candidate in (folder / plain.parent / last, folder / last):
                if _exists(candidate) and folder.resolve() in candidate.resolve().parents:
                    return candidate
        return None

    def is_new(self, model: NamedModel) -> bool:
        """Note that the file of a model was not found.

        Args:
            model: as the naming file writes it

        Returns:
            whether it is the first time, and names a file that should be among the models
        """
        ending = PurePosixPath(model.name.replace("\\", "/")).suffix.lower()
        if not self.models or ending not in WEIGHTS or model.name in self.models:
            return False
        if model.identity.known and not self.must_exist:  # its name tells what is checked
            return False
        return self.missing.setdefault(endings(model.name)[0], model.place) is model.place


def load_subjects(
    paths: Sequence[Path],
    models: Path | None = None,
    texts: Mapping[str, str] = MappingProxyType({}),
    beside: Sequence[Path] = (),
) -> Iterator[Subject]:
    """Read files and folders and resolve the names in them.

    Args:
        paths: files that are named are related to one another; files of a folder to those of all folders that they name
        models: a folder where models are searched; a file that is in none of the folders is reported
        texts: by path, read in place of what is in the files
        beside: further folders where models are searched

    Returns:
        the subjects, one at a time; names that stay unresolved in a folder with models are in one more at the end

    Raises:
        InputError: a path does not exist or contains nothing to check
    """
    for path in paths if models is None else [*paths, models]:
        if not _exists(path):
            raise InputError(f"{path}: no such file or folder")
    if models is not None and not models.is_dir():
        raise InputError(f"models {str(models)!r}: must be a folder")
    from unnoise.check.read.tree import files, is_model_folder

    named = {path: read(path, texts) for path in paths if not path.is_dir() or is_model_folder(path)}
    listed = {path: list(files(path)) for path in dict.fromkeys([*paths, *beside]) if path not in named}
    others = files(models) if models is not None else ()
    shelf = Shelf(
        {path.name: subject for path, subject in named.items()},
        collect([*others, *chain.from_iterable(listed.values())]),
        True, texts, models is not None,
    )  # fmt: skip
    for path in dict.fromkeys(paths):
        if path in named:
            yield related(named[path], list(named.values()), shelf)
            continue
        inside = 0
        for found in listed[path]:
            subject = resolved(read(found, texts), shelf)
            if not is_foreign(subject):
                inside += 1
                yield subject
        if not inside:
            raise InputError(
                f"{path}: contains nothing to check: models, LoRAs, workflows, images with metadata, scripts, TOML"
            )
    yield from _unresolved(shelf)


def _unresolved(shelf: Shelf) -> Iterator[Subject]:
    """Report the names that stay unresolved all together, where they need not exist."""
    if shelf.missing and not shelf.must_exist:
        place = next(iter(shelf.missing.values()))
        more = len(shelf.missing) - MOST_NAMED
        names = [*list(shelf.missing)[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
        yield Subject(path=place.path, faults=(ReadFault("unresolved", place, ", ".join(names)),))


def _exists(path: Path) -> bool:
    """Return whether there is such a file or folder; False for an impossible name."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def is_foreign(subject: Subject) -> bool:
    """Return whether a file is not one to check: an ordinary image, text, script or JSON."""
    facts = (subject.weights, subject.configs, subject.runs, subject.models, subject.trainings, subject.measured)
    speaks = any("diffusers" in one for one in subject.texts.values())
    ours = (
        speaks
        or subject.path.endswith((".safetensors", ".gguf"))
        or any(one.kind in ("pickle", "unreadable") for one in subject.faults)
    )
    return not any(facts) and not ours


def related(subject: Subject, others: Iterable[Subject], shelf: Shelf) -> Subject:
    """Resolve the names in a subject; without a base of its own, apply it to the only base among the others.

    Args:
        subject: a file or folder
        others: the subjects named in the same command
        shelf: finds models

    Returns:
        the subject, with runs and uses added
    """
    subject = resolved(subject, shelf)
    bases = [model for other in others if other.path != subject.path for model in other.models if _is_base(model)]
    if len(bases) != 1 or subject.runs or subject.uses:
        return subject
    uses = tuple(Use(model.place, model, bases[0]) for model in subject.models if _role(model) in ADAPTERS)
    runs = tuple(run for model in subject.models if (run := _run_with(model, bases[0])))
    return replace(subject, uses=uses, runs=runs)


def _run_with(model: NamedModel, base: NamedModel) -> GenerationRun | None:
    """Return the run that a base and a model imply: a VAE decodes for it, a folder was converted from it."""
    if _role(model) == "vae":
        return GenerationRun(place=model.place, tool="", task="decode", model=base, vae=model)
    schedule = model.configs.get("scheduler")
    if schedule is not None and model.identity.family == base.identity.family:
        return GenerationRun(place=model.place, tool="", task="convert", model=base, schedule=schedule)
    return None


def _role(model: NamedModel) -> str:
    return model.weights.role if model.weights else ""


def _is_base(model: NamedModel) -> bool:
    return _role(model) in BASES or (model.weights is None and bool(model.configs))


def resolved(subject: Subject, shelf: Shelf) -> Subject:
    """Complete every model, adapter and mask that a subject names from its file."""
    folder = Path(subject.path).parent
    missing: list[ReadFault] = []

    def complete(model: NamedModel | None) -> NamedModel | None:
        return None if model is None else _filled(model, folder, shelf, missing)

    runs = tuple(_run(run, complete, folder, shelf) for run in subject.runs)
    uses = tuple(_use(use, complete) for use in subject.uses)
    trainings = tuple(replace(one, base=complete(one.base)) for one in subject.trainings)
    faults = (*subject.faults, *_once(missing))
    return replace(subject, runs=runs, uses=uses, trainings=trainings, faults=faults)


def _once(faults: Iterable[ReadFault]) -> list[ReadFault]:
    return list({fault.message: fault for fault in faults}.values())


def _run(run: GenerationRun, complete: Any, folder: Path, shelf: Shelf) -> GenerationRun:
    mask = run.mask or _mask(run.others, folder, shelf)
    size = run.image_size or _size(run.others.get("image"), folder, shelf)
    adapters = tuple(_use(use, complete) for use in run.adapters)
    return replace(run, model=complete(run.model), vae=complete(run.vae), adapters=adapters, mask=mask, image_size=size)


def _use(use: Use, complete: Any) -> Use:
    return replace(use, adapter=complete(use.adapter), base=complete(use.base))


def _filled(model: NamedModel, folder: Path, shelf: Shelf, missing: list[ReadFault]) -> NamedModel:
    if model.weights or model.configs:
        return model
    found = shelf.find(model.name, folder)
    if found is None or not found.models:
        if found is None and shelf.is_new(model) and shelf.must_exist:
            missing.append(
                ReadFault("missing", model.place, f"{model.name} is neither in this folder nor among the models")
            )
        name = PurePosixPath(model.name.replace("\\", "/"))
        named = shelf.path(str(name.with_suffix(".yaml")), folder) if name.name else None
        return model if named is None else replace(model, identity=with_stated(model.identity, named))
    other = found.models[0]
    identity = refined(other.identity, model.identity) if other.identity.known else model.identity
    return replace(model, identity=identity, weights=other.weights, configs=other.configs, known=other.known)


def _mask(others: Mapping[str, Located[Any]], folder: Path, shelf: Shelf) -> Mask | None:
    mask_name = next((mask_name for key in MASKS if (mask_name := text(others.get(key)))), None)
    path = shelf.path(mask_name.value, folder) if mask_name else None
    if mask_name is None or path is None:
        return None
    from unnoise.check.read.picture import read_mask

    mask = read_mask(str(path))
    return replace(mask, place=mask_name.place) if mask else None


def _size(located: Located[Any] | None, folder: Path, shelf: Shelf) -> Located[tuple[int, int]] | None:
    located = text(located)
    path = shelf.path(located.value, folder) if located else None
    if located is None or path is None:
        return None
    from unnoise.check.read.picture import read_size

    size = read_size(str(path))
    return Located(size, located.place) if size else None
