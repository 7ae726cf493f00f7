"""Relate subjects: the files that a workflow or a script names, and a LoRA, a VAE or an embedding beside its base."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from unnoise.check.read.dispatch import read
from unnoise.check.subject import Fault, Mask, Model, Run, Said, Subject, Use
from unnoise.check.typed import text
from unnoise.errors import InputError
from unnoise.families.tensors import refined

BASES = ("checkpoint", "denoiser")
ADAPTERS = ("lora", "controlnet", "embedding")
MASKS = ("mask_image", "mask")


@dataclass(slots=True)
class Shelf:
    """Hold what can be looked up by name: files that were named, and those under the folder of models."""

    named: Mapping[str, Subject] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
    on_disk: bool = False
    opened: dict[Path, Subject] = field(default_factory=dict)

    def find(self, name: str, beside: Path) -> Subject | None:
        """Find a model by its name: among the named files, beside the file that names it, then under the models."""
        last = PurePosixPath(name.replace("\\", "/")).name
        if not last or last in (".", ".."):
            return None
        for known in (last, f"{last}.safetensors"):  # some tools leave the ending out
            if known in self.named:
                return self.named[known]
        path = self.path(name, beside)
        if path is None:
            return None
        if path not in self.opened:
            self.opened[path] = read(path)
        return self.opened[path]

    def path(self, name: str, beside: Path) -> Path | None:
        """Find a file or a folder that is named, never outside the folder of the file that names it or the models."""
        plain = PurePosixPath(name.replace("\\", "/"))
        if not self.on_disk or plain.is_absolute() or ".." in plain.parts or not plain.name:
            return None
        for name in (plain.name, f"{plain.name}.safetensors"):
            for candidate in (beside / plain.parent / name, beside / name):
                if _exists(candidate) and beside.resolve() in candidate.resolve().parents:
                    return candidate
            if name in self.models:
                return self.models[name]
        return None


def linked(paths: Sequence[Path], models: Path | None = None) -> Iterator[Subject]:
    """Read what is named, walking folders, and relate it. Raises InputError where a path is missing or holds nothing.

    Files that are named are related to one another; those that are met in a folder only to what they name.
    """
    for path in paths if models is None else [*paths, models]:
        if not _exists(path):
            raise InputError(f"{path}: there is no such file or folder")
    from unnoise.check.read.tree import files, is_model_folder

    named = {path: read(path) for path in paths if not path.is_dir() or is_model_folder(path)}
    shelf = Shelf({path.name: subject for path, subject in named.items()}, _index(models), on_disk=True)
    for path in dict.fromkeys(paths):
        if path in named:
            yield related(named[path], list(named.values()), shelf)
            continue
        inside = 0
        for found in files(path):
            subject = resolved(read(found), shelf)
            if not _is_foreign(subject):
                inside += 1
                yield subject
        if not inside:
            raise InputError(
                f"{path}: holds nothing to check: models, LoRAs, workflows, pictures with records, scripts, TOML"
            )


def _exists(path: Path) -> bool:
    """Say whether there is such a file or folder; a name that no file can have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long; holds a zero byte
        return False


def _is_foreign(subject: Subject) -> bool:
    """Say whether a file that was only met is none of ours to judge: an ordinary picture, text, script or JSON."""
    told = (subject.weights, subject.configs, subject.runs, subject.models, subject.trainings, subject.measured)
    speaks = any("diffusers" in one for one in subject.texts.values())
    ours = (
        speaks
        or subject.path.endswith((".safetensors", ".gguf"))
        or any(one.kind in ("pickle", "unreadable") for one in subject.faults)
    )
    return not any(told) and not ours


def _index(models: Path | None) -> dict[str, Path]:
    if models is None:
        return {}
    if not models.is_dir():
        raise InputError(f"models {str(models)!r}: a folder")
    from unnoise.check.read.tree import files

    found: dict[str, Path] = {}
    for path in files(models):
        found.setdefault(path.name, path)
    return found


def related(subject: Subject, others: Iterable[Subject], shelf: Shelf) -> Subject:
    """Resolve what a subject names, and put it on the only base among the others where it says none itself."""
    subject = resolved(subject, shelf)
    bases = [model for other in others if other.path != subject.path for model in other.models if _is_base(model)]
    if len(bases) != 1 or subject.runs or subject.uses:
        return subject
    uses = tuple(Use(model.place, model, bases[0]) for model in subject.models if _role(model) in ADAPTERS)
    runs = tuple(run for model in subject.models if (run := _beside(model, bases[0])))
    return replace(subject, uses=uses, runs=runs)


def _beside(model: Model, base: Model) -> Run | None:
    """Say what a model that is named together with a base has to do with it: it decodes, or was converted from it."""
    if _role(model) == "vae":
        return Run(place=model.place, tool="", task="decode", model=base, vae=model)
    schedule = model.configs.get("scheduler")
    if schedule is not None and model.identity.family == base.identity.family:
        return Run(place=model.place, tool="", task="convert", model=base, schedule=schedule)
    return None


def _role(model: Model) -> str:
    return model.weights.role if model.weights else ""


def _is_base(model: Model) -> bool:
    return _role(model) in BASES or (model.weights is None and bool(model.configs))


def resolved(subject: Subject, shelf: Shelf) -> Subject:
    """Fill in what is known of every model, adapter and mask that a subject names, from their files."""
    beside = Path(subject.path).parent
    missing: list[Fault] = []

    def look(model: Model | None) -> Model | None:
        return None if model is None else _filled(model, beside, shelf, missing)

    runs = tuple(_run(run, look, beside, shelf) for run in subject.runs)
    uses = tuple(_use(use, look) for use in subject.uses)
    trainings = tuple(replace(one, base=look(one.base)) for one in subject.trainings)
    faults = (*subject.faults, *_once(missing))
    return replace(subject, runs=runs, uses=uses, trainings=trainings, faults=faults)


def _once(faults: Iterable[Fault]) -> list[Fault]:
    return list({fault.says: fault for fault in faults}.values())


def _run(run: Run, look: Any, beside: Path, shelf: Shelf) -> Run:
    mask = run.mask or _mask(run.others, beside, shelf)
    size = run.image_size or _size(run.others.get("image"), beside, shelf)
    adapters = tuple(_use(use, look) for use in run.adapters)
    return replace(run, model=look(run.model), vae=look(run.vae), adapters=adapters, mask=mask, image_size=size)


def _use(use: Use, look: Any) -> Use:
    return replace(use, adapter=look(use.adapter), base=look(use.base))


def _filled(model: Model, beside: Path, shelf: Shelf, missing: list[Fault]) -> Model:
    if model.weights or model.configs:
        return model
    found = shelf.find(model.name, beside)
    if found is None or not found.models:
        if found is None and shelf.models and "." in PurePosixPath(model.name).name:
            missing.append(
                Fault("missing", model.place, f"{model.name} is neither beside this file nor among the models")
            )
        return model
    other = found.models[0]
    identity = refined(other.identity, model.identity) if other.identity.known else model.identity
    return replace(model, identity=identity, weights=other.weights, configs=other.configs, known=other.known)


def _mask(others: Mapping[str, Said[Any]], beside: Path, shelf: Shelf) -> Mask | None:
    said = next((said for key in MASKS if (said := text(others.get(key)))), None)
    path = shelf.path(said.value, beside) if said else None
    if said is None or path is None:
        return None
    from unnoise.check.read.picture import read_mask

    mask = read_mask(str(path))
    return replace(mask, place=said.place) if mask else None


def _size(said: Said[Any] | None, beside: Path, shelf: Shelf) -> Said[tuple[int, int]] | None:
    said = text(said)
    path = shelf.path(said.value, beside) if said else None
    if said is None or path is None:
        return None
    from unnoise.check.read.picture import read_size

    size = read_size(str(path))
    return Said(size, said.place) if size else None
