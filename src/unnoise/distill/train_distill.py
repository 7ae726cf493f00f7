"""Distil a student by a recipe: load the teacher, encode the data, train the student, save it as an ordinary model."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Final

import torch

from unnoise import model_file
from unnoise.card import OWN, Card
from unnoise.data.dataset import ImageDataset
from unnoise.distill.collapse import CollapseWatch
from unnoise.distill.consistency import ConsistencyTask
from unnoise.distill.imitate import ImitateTask
from unnoise.distill.match import MatchTask
from unnoise.distill.plain_student import is_plain, plain_fit, save_plain_student, trained_part
from unnoise.distill.pools import open_images, open_pools, prompt_lines
from unnoise.distill.recipe import STUDENT, DistillRecipe
from unnoise.distill.rows import RowSource
from unnoise.distill.student import begin_from, build_student, check_init
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher, load_teacher
from unnoise.errors import CollapseError, InputError, NonFiniteError
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.train import checkpoint
from unnoise.train.cache import codes_each
from unnoise.train.ema_choice import check_ema_length
from unnoise.train.fit_options import check_compiler
from unnoise.train.log import LOG, read_log
from unnoise.train.loop import train
from unnoise.train.processes import machine_facts, run_facts, world
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.shard import whole_networks
from unnoise.train.train_recipe import SHEET_PROMPTS, TrainingReport
from unnoise.train.training_card import with_timing
from unnoise.train.validation import Monitor
from unnoise.train.weights import temporary_weights

TASKS: Final[dict[str, Callable[..., DistillTask]]] = {
    "consistency": ConsistencyTask,
    "imitate": ImitateTask,
    "match": MatchTask,
}
TEACHER: Final = "teacher.sha256"  # in the folder of a run: a hash of the teacher
UNPROMPTED: Final = 8  # rows of the sheet of a model without prompts


def train_distill(
    recipe: DistillRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Distil a student, and return the path of its file, `folder/NAME.safetensors`.

    Args, Raises: as for `train_recipe`; also CollapseError where the samples of the student collapse.
    """
    check_ema_length(recipe.checkpoints, held_out=False)
    check_compiler(recipe.fit)
    teacher = load_teacher(recipe, device)
    dataset = open_images(recipe, teacher)
    student = _student(recipe, teacher)
    prompts = sheet_prompts(recipe, teacher, dataset)
    facts = partial(machine_facts, device) if dataset is None else partial(run_facts, dataset, device)
    with claimed_folder(recipe, folder, resume, _bytes(recipe, student, dataset), facts):
        with world().first():
            _claim_teacher(folder, teacher.pipeline.card)
        if dataset is not None:
            report.opened(dataset)
        rows = RowSource(recipe, teacher, open_pools(recipe, teacher, dataset, folder, report))
        del dataset
        task = TASKS[recipe.method](recipe, teacher, student, rows, prompts)
        return _train(task, folder, report)


def _train(task: DistillTask, folder: Path, report: TrainingReport) -> Path:
    recipe, place = task.recipe, folder / STUDENT
    report.stage(STUDENT, recipe.fit.steps)
    done = _steps_kept(place)
    earlier = [line for line in read_log(place / LOG) if line["step"] <= done]
    monitor = Monitor(levels=task.levels, samples=CollapseWatch(task, earlier))
    with _naming_checkpoint(place):
        averaged = train(task, plain_fit(recipe), recipe.checkpoints, place, report.step, monitor=monitor)
    with temporary_weights(task.networks, averaged), whole_networks(task.networks, world()):
        card = with_timing(task.student.card, folder, task.teacher.device)
        world().once(lambda: _save(task, replace(task.student, card=card), folder))
    return student_path(task.recipe, task.teacher.pipeline.card, folder)


def _save(task: DistillTask, student: Pipeline, folder: Path) -> None:
    base = task.teacher.pipeline
    path = student_path(task.recipe, base.card, folder)
    if is_plain(task.recipe, base.card):
        save_plain_student(task.recipe, student, base, path)
    else:
        model_file.save(path, student)


def student_path(recipe: DistillRecipe, teacher: Card, folder: Path) -> Path:
    """Return the file of a student, or the folder of a whole network of another program."""
    return folder / (recipe.name if recipe.lora is None and teacher.family != OWN else f"{recipe.name}.safetensors")


@contextmanager
def _naming_checkpoint(place: Path) -> Iterator[None]:
    """Add the checkpoint that is kept to the message of a training that fails."""
    try:
        yield
    except (CollapseError, NonFiniteError) as error:
        step, kept = _steps_kept(place), place / checkpoint.FILE
        what = f"the checkpoint of step {step} is kept, {kept}" if step else "no checkpoint is written yet"
        raise type(error)(f"{error}; {what}; train in another folder with a lower fit.learning_rate") from None


def _steps_kept(place: Path) -> int:
    """Return the step of the checkpoint in a folder; 0 without one."""
    kept = place / checkpoint.FILE
    return int(checkpoint.read_facts(kept)["step"]) if kept.exists() else 0


def _student(recipe: DistillRecipe, teacher: Teacher) -> Pipeline:
    """Make the student, with the weights of the recipe's `init` where there is one."""
    torch.manual_seed(recipe.seed)
    if not recipe.init:
        return build_student(recipe, teacher.pipeline)
    init = load(recipe.init)
    check_init(recipe, init, teacher.pipeline)
    student = build_student(recipe, teacher.pipeline, init.card)
    begin_from(student.denoiser.net, init.denoiser.net)
    return student


def sheet_prompts(recipe: DistillRecipe, teacher: Teacher, dataset: ImageDataset | None) -> list[str]:
    """Return the prompts of contact sheets: those of the recipe, or captions, or classes, or the empty one.

    Raises InputError for a prompt that the teacher cannot encode.
    """
    encoder, labels = teacher.pipeline.text_encoder, teacher.pipeline.card.labels
    if encoder is None:
        if recipe.prompts:
            raise InputError(f"prompts: {teacher.pipeline.card.name!r} takes none; leave them out")
        return [""] * UNPROMPTED
    encoder(recipe.prompts)
    captions = [names[0] for names in dataset.captions] if dataset is not None else []
    if recipe.data is not None and dataset is None:
        captions = prompt_lines(recipe.data)
    found = [*recipe.prompts] or [*labels] or captions or [""]
    return found if recipe.prompts else found[:: -(-len(found) // SHEET_PROMPTS)]


def _bytes(recipe: DistillRecipe, student: Pipeline, dataset: ImageDataset | None) -> int:
    """Return the bytes that a run writes: checkpoints, averages, and the codes of the images."""
    networks = 1 if recipe.match is None else 2
    count = sum(one.numel() for one in trained_part(student.denoiser.net).parameters()) * networks
    total = bytes_of_run(count, recipe.fit, recipe.checkpoints)
    data = recipe.data
    if dataset is None or data is None or data.cache or not recipe.options.images:
        return total
    code = prod(student.space.shape(data.size, data.size)) * (2 if student.card.autoencoder else 1)
    return total + code * len(dataset) * codes_each(data)


def _claim_teacher(folder: Path, card: Card) -> None:
    """Write what the teacher is. Raises InputError where the run of the folder has another one."""
    parts = (card.fingerprint, card.net, card.process, card.kind, card.space)
    path, own = folder / TEACHER, hashlib.sha256(repr(parts).encode()).hexdigest()
    if path.exists() and read_text(path) != own:
        raise InputError(
            f"--out {str(folder)!r}: its student was begun from another teacher than {card.name!r} is now; restore "
            f"that file, or use another folder"
        )
    with replacing(path) as file:
        file.write(own.encode())
