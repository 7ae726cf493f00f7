"""The folder of a run: one training at a time, on a disk with room, and only a recipe that keeps what is trained."""

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from unnoise.devices import size
from unnoise.errors import InputError, InputWarning
from unnoise.formats.atomic import check_writable, replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import dump, parse, plain
from unnoise.train.checkpoint import read_facts
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.exact import exact_threads
from unnoise.train.fit_options import FitOptions
from unnoise.train.folder_lock import locked, resumes, sign
from unnoise.train.gradients import check_split
from unnoise.train.processes import started

WRITTEN = (".safetensors", ".bin")  # endings of the large files of a run
RECIPE = "recipe.json"
LITTER = (".*.part", "*/.*.part", "*/ema/.*.part")  # temporary files of writes that were interrupted
FLOAT = 4  # bytes of a number in a checkpoint
COPIES = 5  # of the parameters in a checkpoint: weights, two moments, two averages
# Fields that decide nothing that is trained already; `steps` is the other.
FREE = frozenset(
    {"name", "licence", "prompts", "checkpoints.every", "checkpoints.sheet_every", "checkpoints.ema_length"}
    | {"data.strict", "data.workers", "data.cache", "consistency.grid"}
)
FREE_TABLES = ("advice.",)
SHOWN = 2  # differences that a message lists


class Recipe(Protocol):
    """What the recipes of all trainings have."""

    @property
    def checkpoints(self) -> CheckpointOptions: ...

    def fits(self) -> Mapping[str, tuple[str, FitOptions]]:
        """Return the place in the recipe and the options of each task, by its folder, in the order of training."""


R = TypeVar("R", bound=Recipe)


@contextmanager
def claimed_folder(
    recipe: R, folder: Path, resume: bool, needed: int, facts: Callable[[], Mapping[str, str]] = dict
) -> Iterator[None]:
    """Hold the folder of a run for one training, with the recipe in it and without files of interrupted writes.

    Of several processes, the first claims it; all compute with the threads of the recipe, if it is exact.

    Args:
        recipe: of the run.
        folder: of the run.
        resume: continue the run that the folder holds.
        needed: bytes that the run will write.
        facts: what must be the same in all processes, beside the recipe.

    Raises:
        InputError: the folder holds a run (unless to resume it), or one whose recipe differs in more than what touches
            no trained step; another process trains in it; it cannot be written, or the disk has no room; a batch does
            not divide among the processes; one of them has another recipe or fact, or does not see the folder.
    """
    fits = [fit for _, fit in recipe.fits().values()]
    with started() as world, ExitStack() as held:
        if world.size > 1:
            world.agree({f"recipe: {name}": repr(value) for name, value in _fields(plain(recipe))} | dict(facts()))
        del facts  # a data set, which a training does not keep
        for place, fit in recipe.fits().values():
            check_split(place, fit, world.size)
        with world.first():
            if world.rank == 0:
                held.enter_context(_claimed(recipe, folder, resume, needed))
            else:
                _check_shared(recipe, folder)
        held.enter_context(exact_threads(fits))
        yield


@contextmanager
def _claimed(recipe: R, folder: Path, resume: bool, needed: int) -> Iterator[None]:
    check_writable(folder / RECIPE)
    _check_disk(folder, needed)
    with locked(folder) as lock:
        for pattern in LITTER:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
        _claim(recipe, folder, resumes(folder, resume))
        sign(lock)
        yield


def _check_shared(recipe: R, folder: Path) -> None:
    """Raise InputError unless the first process has claimed the same folder for the same recipe."""
    mark = folder / RECIPE
    if not mark.exists() or read_text(mark) != dump(recipe):
        raise InputError(
            f"--out {str(folder)!r}: is not the folder that process 0 writes; use one that all machines share"
        )


def bytes_of_run(parameters: int, fit: FitOptions, checkpoints: CheckpointOptions) -> int:
    """Return the bytes that a task writes: two checkpoints, as one replaces the other, snapshots, and the result."""
    snapshots = len(checkpoints.ema_lengths) * -(-fit.steps // checkpoints.snapshot_every)
    return FLOAT * parameters * (2 * COPIES + snapshots + 1)


def _check_disk(folder: Path, needed: int) -> None:
    """Raise InputError if what a run still has to write does not fit on the disk."""
    there = folder
    while not there.exists():
        there = there.parent
    written = folder.glob("*/**/*") if there == folder else ()
    held = sum(path.stat().st_size for path in written if path.suffix in WRITTEN)
    free = shutil.disk_usage(there).free
    if needed - held > free:
        raise InputError(
            f"--out {str(folder)!r}: the run writes about {size(needed - held)}, and {size(free)} are free; free some, "
            f"use another disk, or raise checkpoints.snapshot_every"
        )


def check_free(folder: Path, resume: bool) -> None:
    """Raise InputError where a folder holds a run that is not to be resumed."""
    if (folder / RECIPE).exists() and not resume:
        raise InputError(
            f"--out {str(folder)!r}: holds a run already; continue it with --resume, or use another folder"
        )


def recipe_there(kind: type[R], folder: Path) -> R | None:
    """Return the recipe of the run in a folder, None where there is no run."""
    mark = folder / RECIPE
    return parse(kind, read_text(mark), str(mark)) if mark.exists() else None


def _claim(recipe: R, folder: Path, resume: bool) -> None:
    mark = folder / RECIPE
    check_free(folder, resume)
    if mark.exists():
        _check_same(parse(type(recipe), read_text(mark), str(mark)), recipe, folder)
    with replacing(mark) as file:
        file.write(dump(recipe).encode())


def _check_same(before: R, recipe: R, folder: Path) -> None:
    """Raise InputError where a recipe changes what the trained steps rest on."""
    steps = {f"{place}.steps" for place, _ in recipe.fits().values()}
    old, new = (dict(_fields(plain(one))) for one in (before, recipe))
    differing = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    refused = [name for name in differing if name not in FREE | steps and not name.startswith(FREE_TABLES)]
    if refused:
        listed = "; ".join(
            f"{name} is {old.get(name)!r} there, {new.get(name)!r} in the recipe" for name in refused[:SHOWN]
        )
        more = f" ({len(refused) - SHOWN} more)" if len(refused) > SHOWN else ""
        raise InputError(
            f"--out {folder.name!r}: {listed}{more}; restore it, or use another folder (docs/training.md lists what "
            f"may change)"
        )
    for task, (place, fit) in recipe.fits().items():
        _check_steps(place, before.fits()[task][1], fit, folder / task)
    started = [task for task in recipe.fits() if (folder / task / "checkpoint.safetensors").exists()]
    for task, (place, fit) in recipe.fits().items():
        if before.fits()[task][1].steps != fit.steps and started and task != started[-1]:
            raise InputError(
                f"{place}.steps {fit.steps}: {place}.steps is {before.fits()[task][1].steps} in {str(folder)!r}, whose "
                f"{started[-1]} rests on it; restore it, or use another folder"
            )


def _check_steps(place: str, before: FitOptions, fit: FitOptions, folder: Path) -> None:
    """Refuse fewer steps than are trained; warn where the learning rate of trained steps would have been another."""
    saved = folder / "checkpoint.safetensors"
    done = int(read_facts(saved)["step"]) if saved.exists() else 0
    if fit.steps < done:
        raise InputError(f"{place}.steps {fit.steps}: {done} steps are trained in {str(folder)!r}; at least {done}")
    if done and before.learning_rate_at(done - 1) != fit.learning_rate_at(done - 1):
        warnings.warn(
            f"{place}.steps {before.steps} is now {fit.steps}: the {done} trained steps followed the learning rate of "
            f"{before.steps} steps, the others follow that of {fit.steps}, so the weights will differ from those of "
            f"one run of {fit.steps} steps",
            InputWarning,
            stacklevel=2,
        )


def _fields(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """List the fields of a recipe by dotted name."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value
