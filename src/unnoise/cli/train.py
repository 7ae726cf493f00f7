"""`unnoise train`: a recipe becomes a model file, with progress, and goes on where it was stopped."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.errors import check_whole

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress as Bar

    from unnoise.data.dataset import ImageDataset
    from unnoise.train.loop import Progress


EPILOGUE = """Examples:
  unnoise train recipes/emoji.toml --out runs/emoji
  unnoise train recipes/emoji.toml --out runs/emoji --resume
  unnoise generate "a red heart" --model runs/emoji/emoji.safetensors

The folder of a run holds the model, checkpoints, averages of the weights, a
log with a JSON object a step, and sheets of samples. A run that was stopped
goes on with --resume and ends with the same weights to the bit, on the same
machine, versions and number of threads. docs/training.md explains recipes."""

STRICT = "Refuse pictures that cannot be read and what `unnoise check` warns of; else skip them and say it."

app = App(help="Train a model from a recipe.", help_format="plaintext", help_epilogue=EPILOGUE)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Where a training writes, whether it goes on, and on what it computes."""

    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder of the run; runs/NAME.")] = None
    resume: Annotated[bool, Parameter(negative="", help="Go on from the last checkpoint of the folder.")] = False
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu"
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores unless given.")] = None

    def through(self, name: str, train: "Callable[[Path, torch.device, bool, ConsoleReport], Path]") -> None:
        """Train with a bar, and say where the file is."""
        import torch

        from unnoise.devices import known_device

        if self.threads is not None:
            check_whole("threads", self.threads, 1, 1024)
            torch.set_num_threads(self.threads)
        with progress_bar() as bar:
            path = train(self.out or Path("runs") / name, known_device(self.device), self.resume, ConsoleReport(bar))
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


HERE = TrainOptions()


@app.default
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file such as recipes/emoji.toml.")],
    /,
    *,
    run: Annotated[TrainOptions, Parameter(name="*")] = HERE,
    strict: Annotated[bool, Parameter(negative="", help=STRICT)] = False,
) -> None:
    """Train the model that a recipe describes, and say where its file is."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.check.read.dispatch import read
    from unnoise.cli.preflight import preflight
    from unnoise.train.recipe import read_recipe
    from unnoise.train.train_recipe import train_recipe

    plan = read_recipe(recipe)
    preflight([read(recipe)], strict, False, "UN5")
    if strict:
        plan = replace(plan, data=replace(plan.data, strict=True))
    run.through(plan.name, partial(train_recipe, plan))


def progress_bar() -> "Bar":
    """Make a bar on stderr that shows speed and loss."""
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
    """Show the stages of a run: a bar each, and, where there is no terminal, a line every hundred steps."""

    def __init__(self, bar: "Bar") -> None:
        self.bar = bar

    def opened(self, source: "ImageDataset") -> None:
        skipped = f", {source.skipped} skipped: they cannot be read" if source.skipped else ""
        found = f"{source.name}: {len(source)} pictures of {len(source.members)} concepts"
        self.bar.console.print(found + skipped, highlight=False, soft_wrap=True)

    def stage(self, name: str, total: int) -> None:
        self.name = name
        self.current = self.bar.add_task(name, total=total, note="")

    def step(self, progress: "Progress") -> None:
        note = f"loss {progress.loss:.4f}  {progress.speed:.0f} images/s"
        self.bar.update(self.current, completed=progress.step, note=note)
        if not self.bar.console.is_terminal and progress.step % 100 == 0:
            self.bar.console.print(f"{self.name} {progress.step}/{progress.steps}  {note}", highlight=False)

    def encoded(self, done: int, total: int) -> None:
        self.bar.update(self.current, completed=done, total=total)
