"""`unnoise train`: train the model of a recipe or of a folder, with progress; a stopped run can be resumed."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from unnoise.cli.processes import processes
from unnoise.cli.whole import whole
from unnoise.errors import InputError, OutputError, check_number, check_whole
from unnoise.train.stop import TrainingStopped, stop_signals

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress as Bar

    from unnoise.data.dataset import ImageDataset
    from unnoise.distill.recipe import DistillRecipe
    from unnoise.train.adapter_recipe import AdapterRecipe
    from unnoise.train.finetune_recipe import AnyRecipe
    from unnoise.train.recipe import TrainingRecipe
    from unnoise.train.task import Progress, TrainCallback

R = TypeVar("R", "TrainingRecipe", "AnyRecipe", "AdapterRecipe", "DistillRecipe")

EPILOGUE = """Examples:
  unnoise train my-pictures --minutes 10
  unnoise train --init my-pictures > recipe.toml
  unnoise train recipes/emoji.toml --out runs/emoji
  unnoise train recipes/emoji.toml --out runs/emoji --resume
  unnoise generate "a red heart" --model runs/emoji/emoji.safetensors

A folder of images is looked at, a few steps are measured, and a recipe for the
time is printed and trained. --init only writes it.

The folder of a run holds the model, checkpoints, averages of the weights, a
log with one JSON object a step, and contact sheets of samples. Ctrl-C and
SIGTERM write a checkpoint after the current step; a second one ends at once.
--resume continues a stopped run; it ends with the same weights to the bit, on
the same machine, versions and number of threads. It also extends a finished
run, where `steps` was raised. docs/training.md explains a training, and
docs/recipes.md every field of a recipe."""

DEVICE = "cpu"
MINUTES = "Time of a training from a folder; 5 for up to 200 images, 20 for up to 2,000, 60 for more."
EMA = "EMA length of the model, instead of checkpoints.ema_length; auto is the best on held-out images."
TRACK = "Also record with TensorBoard or Weights & Biases (offline, or wandb-online), in the folder of the run."
LIMITS = (0.1, 100_000)  # of minutes
SETS = (".tar", ".parquet")  # endings of files that hold images
STRICT = "Refuse unreadable images and recipes with warnings of `unnoise check`."

app = App(
    help="Train a model from a recipe, or from a folder of images.", help_format="plaintext", help_epilogue=EPILOGUE
)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The folder and the device of a training."""

    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder of the run; runs/NAME by default.")] = None
    resume: Annotated[bool, Parameter(negative="", help="Continue from the last checkpoint of the folder.")] = False
    device: Annotated[str, Parameter(help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = DEVICE
    threads: Annotated[int | None, Parameter(converter=whole, help="CPU threads; all cores by default.")] = None
    ema: Annotated[float | Literal["auto"] | None, Parameter(help=EMA)] = None
    track: Annotated[Literal["tensorboard", "wandb", "wandb-online"] | None, Parameter(help=TRACK)] = None

    def applied(self, recipe: R) -> R:
        """Return a recipe with the EMA length that is asked for."""
        if self.ema is None:
            return recipe
        return replace(recipe, checkpoints=replace(recipe.checkpoints, ema_length=self.ema))

    def run(
        self,
        command: Sequence[str],
        name: str,
        train: "Callable[[Path, torch.device, bool, ConsoleReport], Path]",
    ) -> None:
        """Train with a progress bar, and print the path of the file.

        Args:
            command: the words of the command line that say what is trained, as in `unnoise train RECIPE`.
            name: of the recipe.
            train: trains; called with folder, device, resume and a report.

        Raises:
            TrainingStopped, OutputError: as `train` does, with the command that continues.
        """
        folder, device = self.folder(name), self.machine()
        advice = f"continue with: {self._again(command, folder)}"
        try:
            with progress_bar() as bar, stop_signals():
                report = ConsoleReport(bar, self._trackers(folder, name))
                path = train(folder, device, self.resume, report)
        except TrainingStopped as stop:
            raise TrainingStopped(stop.number, advice) from None
        except OutputError as error:
            raise OutputError(f"{error}; free some space and {advice}") from error
        files = path.rglob("*") if path.is_dir() else [path]
        print(f"{path}  {sum(one.stat().st_size for one in files) / 1e6:.1f} MB", flush=True)
        _say_end(folder, report.next)

    def folder(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.out or Path("runs") / name

    def _trackers(self, folder: Path, name: str) -> "Callable[[str], TrainCallback] | None":
        """Return what makes the callback of a task. Raises InputError where its package is missing."""
        if self.track is None:
            return None
        from unnoise.train.track import tracker

        kind, place = self.track, folder / self.track.partition("-")[0]
        tracker(kind, place, name)
        return lambda task: tracker(kind, place / task, f"{name} {task}")

    def machine(self) -> "torch.device":
        """Set the number of threads, and return the device."""
        import torch

        from unnoise.devices import known_device
        from unnoise.train.processes import own_device

        if self.threads is not None:
            check_whole("threads", self.threads, 1, 1024)
            torch.set_num_threads(self.threads)
        return known_device(own_device(self.device))

    def _again(self, command: Sequence[str], folder: Path) -> str:
        """Return the command that continues the run."""
        device = [] if self.device == DEVICE else ["--device", self.device]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        ema = [] if self.ema is None else ["--ema", f"{self.ema}"]
        track = [] if self.track is None else ["--track", self.track]
        return shlex.join([*launch(), *command, "--out", str(folder), *device, *threads, *ema, *track, "--resume"])


def launch() -> list[str]:
    """Return the words that start this program, in as many processes."""
    machines, each = os.environ.get("GROUP_WORLD_SIZE", "1"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if (machines, each) == ("1", "1"):
        return ["unnoise"]
    several = [] if machines == "1" else ["--nnodes", machines]
    return ["torchrun", *several, "--nproc-per-node", each, "-m", "unnoise"]


DEFAULT = TrainOptions()


def _say_end(folder: Path, command: str) -> None:
    """Say the figures of a finished run and what to do next, on stderr."""
    from unnoise.train.figures import read_figures

    lines = [line for figures in read_figures(folder) for line in figures.lines()]
    after = {"generate with": command, "plot with": shlex.join(["unnoise", "plot", str(folder)])}
    lines += [f"{what}: {words}" for what, words in after.items() if words]
    print("\n".join(lines), file=sys.stderr)


@app.default
@processes()
def train(
    source: Annotated[Path, Parameter(help="A recipe, such as recipes/emoji.toml, or a folder of images.")],
    /,
    *,
    options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULT,
    minutes: Annotated[float | None, Parameter(help=MINUTES)] = None,
    init: Annotated[
        bool, Parameter(negative="", help="Write the recipe of a folder to stdout, and train nothing.")
    ] = False,
    strict: Annotated[bool, Parameter(negative="", help=STRICT)] = False,
) -> None:
    """Train the model of a recipe or of a folder of images, and print the path of its file."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    flags = ["--strict"] if strict else []
    if is_recipe(source):
        if init or minutes is not None:
            given = "--init" if init else f"--minutes {minutes:g}"
            raise InputError(f"{given}: for a folder of images; {str(source)!r} is a recipe, which says its steps")
        recipe = _read(source, strict)
    else:
        recipe = _chosen_once(partial(_choose, source, options, minutes, init, strict))
        flags += [] if minutes is None else ["--minutes", f"{minutes:g}"]
    if not init:
        options.run(["train", str(source), *flags], recipe.name, partial(_train, options.applied(recipe)))


def is_recipe(source: Path) -> bool:
    """Return whether a path is a recipe, not images. Raises InputError where it is neither."""
    from unnoise.formats.pictures import ENDINGS
    from unnoise.train.run_folder import RECIPE

    if source.suffix.lower() in ENDINGS and source.is_file():
        raise InputError(f"{str(source)!r}: is an image; give the folder of the images")
    if (source / RECIPE).exists():
        raise InputError(f"{str(source)!r}: is the folder of a run; give what it was trained from, --out and --resume")
    if source.exists():
        return source.is_file() and source.suffix.lower() not in SETS
    folder, colon, _ = str(source).rpartition(":")
    if str(source) == "emoji" or (colon and Path(folder).is_dir()):  # the embedded images; a split of a folder
        return False
    raise InputError(f"{str(source)!r}: is not there; give a recipe (a .toml file) or a folder of images")


def _read(path: Path, strict: bool) -> "AnyRecipe":
    from unnoise.check.references import load_subjects
    from unnoise.cli.preflight import preflight
    from unnoise.train.finetune_recipe import read_any_recipe

    parsed = read_any_recipe(path)
    preflight([*load_subjects([path])], strict, False, "UN5")
    return replace(parsed, data=replace(parsed.data, strict=True)) if strict else parsed


def _chosen_once(choose: "Callable[[], TrainingRecipe]") -> "TrainingRecipe":
    """Choose a recipe in the first process, as it measures, and take it in all."""
    from unnoise.formats.strict_json import dump, parse
    from unnoise.train.processes import world
    from unnoise.train.recipe import TrainingRecipe

    if world().size == 1:
        return choose()
    return parse(TrainingRecipe, world().same(lambda: dump(choose())), "the recipe of process 0")


def _choose(source: Path, options: TrainOptions, minutes: float | None, init: bool, strict: bool) -> "TrainingRecipe":
    """Choose the recipe of a folder and print it: on stdout for `init`. One that is resumed is read from its run."""
    from unnoise.train.folder_lock import resumes
    from unnoise.train.recipe import TrainingRecipe
    from unnoise.train.recipe_toml import recipe_toml
    from unnoise.train.run_folder import check_free, recipe_there
    from unnoise.train.start.choice import choose, name_of
    from unnoise.train.start.facts import source_facts
    from unnoise.train.start.probe import cost

    if minutes is not None:
        check_number("minutes", minutes, *LIMITS)
    name = name_of(source)
    folder = options.folder(name)
    if not init:
        resume = resumes(folder, options.resume)
        check_free(folder, resume)
        if resume and (before := recipe_there(TrainingRecipe, folder)) is not None:
            if before.data.source != str(source):
                raise InputError(f"--out {str(folder)!r}: holds a run of {before.data.source!r}, not {str(source)!r}")
            return before
    device = options.machine()
    start = choose(source_facts(str(source), strict), name, minutes, partial(cost, device=device))
    print(recipe_toml(start.recipe, start.reasons), end="", file=sys.stdout if init else sys.stderr, flush=True)
    return start.recipe


def _train(
    recipe: "AnyRecipe",
    folder: Path,
    device: "torch.device",
    resume: bool,
    report: "ConsoleReport",
) -> Path:
    from unnoise.train.finetune import finetune, finetune_memory
    from unnoise.train.finetune_recipe import FineTuneRecipe
    from unnoise.train.tiny_decoder import train_tiny_decoder
    from unnoise.train.tiny_decoder_recipe import TinyDecoderRecipe
    from unnoise.train.train_recipe import train_recipe

    what = []
    if isinstance(recipe, FineTuneRecipe):
        report.bar.console.print(f"memory {finetune_memory(recipe).line()}", highlight=False, soft_wrap=True)
        path = finetune(recipe, folder, device, resume, report)
    elif isinstance(recipe, TinyDecoderRecipe):
        path, what = train_tiny_decoder(recipe, folder, device, resume, report), ["--decoder", "small"]
    else:
        path = train_recipe(recipe, folder, device, resume, report)
    what += [report.prompt] if report.prompt else ["-n", "4"]
    report.next = shlex.join(["unnoise", "generate", *what, "--model", str(path)])
    return path


def progress_bar() -> "Bar":
    """Make a progress bar on stderr with loss and speed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:11}"),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class ConsoleReport:
    """Show a progress bar for each stage of a run, or, without a terminal, a line every hundred steps."""

    def __init__(self, bar: "Bar", trackers: "Callable[[str], TrainCallback] | None" = None) -> None:
        self.bar, self.trackers = bar, trackers
        self.prompt = ""  # one that the model knows
        self.next = ""  # what to do when the training has ended

    def opened(self, dataset: "ImageDataset") -> None:
        self.prompt = dataset.labels[0] if dataset.labels else dataset.captions[0][0]
        skipped = f", {dataset.skipped} skipped" if dataset.skipped else ""
        found = f"{dataset.name}: {len(dataset)} images of {len(dataset.members)} concepts"
        held_out = f", {f'{dataset.held_out} more' if dataset.held_out else 'none'} held out for validation"
        shapes = f"; {dataset.shapes}" if dataset.shapes else ""
        self.bar.console.print(found + skipped + held_out + shapes, highlight=False, soft_wrap=True)

    def stage(self, name: str, total: int) -> None:
        self.name = name
        self.current = self.bar.add_task(name, total=total, note="")
        self.validation = ""
        self.track = None if self.trackers is None else self.trackers(name)

    def step(self, progress: "Progress") -> None:
        from unnoise.train.figures import duration, speed

        if progress.validation is not None:
            self.validation = f"  val {progress.validation:.4f}"
        if progress.figures:
            shares = [f"{share:.2f}" for name, share in progress.figures.items() if name.startswith("deviation")]
            self.validation = f"  deviation {' '.join(shares)}"
        if self.track is not None:
            self.track(progress)
        note = f"loss {progress.loss:.4f}{self.validation}  {speed(progress.images_per_second)}"
        self.bar.update(self.current, completed=progress.step, note=note)
        left = duration(progress.eta)
        if not self.bar.console.is_terminal and progress.step % 100 == 0:
            line = f"{self.name} {progress.step}/{progress.steps}  {note}  {left} left"
            self.bar.console.print(line, highlight=False, soft_wrap=True)

    def encoded(self, done: int, total: int) -> None:
        self.bar.update(self.current, completed=done, total=total)
