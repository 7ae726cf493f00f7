"""`unnoise train`: train the model of a recipe, with progress; a stopped run can be resumed."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.cli.whole import whole
from unnoise.errors import OutputError, check_whole
from unnoise.train.stop import TrainingStopped, stop_signals

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress as Bar

    from unnoise.data.dataset import ImageDataset
    from unnoise.train.task import Progress


EPILOGUE = """Examples:
  unnoise train recipes/emoji.toml --out runs/emoji
  unnoise train recipes/emoji.toml --out runs/emoji --resume
  unnoise generate "a red heart" --model runs/emoji/emoji.safetensors

The folder of a run holds the model, checkpoints, averages of the weights, a
log with one JSON object a step, and contact sheets of samples. Ctrl-C and
SIGTERM write a checkpoint after the current step; a second one ends at once.
--resume continues a stopped run; it ends with the same weights to the bit, on
the same machine, versions and number of threads. It also extends a finished
run, where `steps` was raised. docs/training.md explains recipes."""

DEVICE = "cpu"
STRICT = "Refuse unreadable images and recipes with warnings of `unnoise check`."

app = App(help="Train a model from a recipe.", help_format="plaintext", help_epilogue=EPILOGUE)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The folder and the device of a training."""

    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder of the run; runs/NAME by default.")] = None
    resume: Annotated[bool, Parameter(negative="", help="Continue from the last checkpoint of the folder.")] = False
    device: Annotated[str, Parameter(help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = DEVICE
    threads: Annotated[int | None, Parameter(converter=whole, help="CPU threads; all cores by default.")] = None

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
        import torch

        from unnoise.devices import known_device

        if self.threads is not None:
            check_whole("threads", self.threads, 1, 1024)
            torch.set_num_threads(self.threads)
        folder, device = self.out or Path("runs") / name, known_device(self.device)
        advice = f"continue with: {self._again(command, folder)}"
        try:
            with progress_bar() as bar, stop_signals():
                path = train(folder, device, self.resume, ConsoleReport(bar))
        except TrainingStopped as stop:
            raise TrainingStopped(stop.number, advice) from None
        except OutputError as error:
            raise OutputError(f"{error}; free some space and {advice}") from error
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")

    def _again(self, command: Sequence[str], folder: Path) -> str:
        """Return the command that continues the run."""
        device = [] if self.device == DEVICE else ["--device", self.device]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return shlex.join(["unnoise", *command, "--out", str(folder), *device, *threads, "--resume"])


DEFAULT = TrainOptions()


@app.default
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file such as recipes/emoji.toml.")],
    /,
    *,
    options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULT,
    strict: Annotated[bool, Parameter(negative="", help=STRICT)] = False,
) -> None:
    """Train the model of a recipe, and print the path of its file."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.check.read.dispatch import read
    from unnoise.cli.preflight import preflight
    from unnoise.train.recipe import read_recipe
    from unnoise.train.train_recipe import train_recipe

    parsed = read_recipe(recipe)
    preflight([read(recipe)], strict, False, "UN5")
    if strict:
        parsed = replace(parsed, data=replace(parsed.data, strict=True))
    words = ["train", str(recipe), *(["--strict"] if strict else [])]
    options.run(words, parsed.name, partial(train_recipe, parsed))


def progress_bar() -> "Bar":
    """Make a progress bar on stderr with loss and speed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class ConsoleReport:
    """Show a progress bar for each stage of a run, or, without a terminal, a line every hundred steps."""

    def __init__(self, bar: "Bar") -> None:
        self.bar = bar

    def opened(self, dataset: "ImageDataset") -> None:
        skipped = f", {dataset.skipped} skipped" if dataset.skipped else ""
        found = f"{dataset.name}: {len(dataset)} images of {len(dataset.members)} concepts"
        held_out = f", {dataset.held_out} more held out for validation" if dataset.held_out else ", no validation"
        self.bar.console.print(found + skipped + held_out, highlight=False, soft_wrap=True)

    def stage(self, name: str, total: int) -> None:
        self.name = name
        self.current = self.bar.add_task(name, total=total, note="")

    def step(self, progress: "Progress") -> None:
        note = f"loss {progress.loss:.4f}  {progress.images_per_second:.0f} images/s"
        self.bar.update(self.current, completed=progress.step, note=note)
        if not self.bar.console.is_terminal and progress.step % 100 == 0:
            self.bar.console.print(f"{self.name} {progress.step}/{progress.steps}  {note}", highlight=False)

    def encoded(self, done: int, total: int) -> None:
        self.bar.update(self.current, completed=done, total=total)
