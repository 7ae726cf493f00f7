"""`unnoise distill`: train a student of a model that needs one to four network calls; a stopped run can be resumed."""

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.cli.processes import processes
from unnoise.cli.train import DEFAULT, TrainOptions

if TYPE_CHECKING:
    import torch

    from unnoise.cli.train import ConsoleReport
    from unnoise.distill.recipe import DistillRecipe

EPILOGUE = """Examples:
  unnoise distill recipe.toml --out runs/fast
  unnoise distill recipe.toml --out runs/fast --resume
  unnoise distill sd15-lora.toml --lora 64 --out runs/fast-lora
  unnoise generate "a red heart" --model runs/fast/fast.safetensors --steps 1

A small recipe:
  name = "fast"
  teacher = "emoji"            # name or file of the model
  guidance = [1.0, 5.0]        # its guidance scales; the student's input
  steps = [1, 2, 4]            # calls that the student is trained for
  data = { source = "emoji" }
  fit = { steps = 2000, batch = 64, learning_rate = 3e-4 }
  [consistency]                # the method; [imitate] needs no images

What happens:
  The student begins as a copy of its teacher. It learns to jump to the end of
  the path that the teacher takes in many steps, guidance included, so that
  one call from noise is a picture. Its file is an ordinary model, with the
  text encoder, the autoencoder and the process of the teacher, and its levels
  for each number of calls are on its card: generate and replay need nothing
  new. The guidance scale is --distilled-guidance.

What to look at:
  Contact sheets in DIR/student show the student beside its teacher at equal
  calls. The log has, every checkpoints.validate_every steps, the deviation
  and the saturation of samples as shares of the teacher's from equal noise.
  The run stops at a deviation below 0.7 of the highest so far, or above 1.4
  of the lowest; the highest counts as at most 1, the lowest as at least 1,
  the teacher's. The last checkpoint is kept.

Ctrl-C and SIGTERM write a checkpoint after the current step. --resume goes on
and ends with the same weights to the bit. docs/distillation.md explains the
methods and every field of a recipe."""

app = App(
    help="Train a student of a model that needs one to four calls.", help_format="plaintext", help_epilogue=EPILOGUE
)


@app.default
@processes()
def distill(
    recipe: Annotated[Path, Parameter(help="A TOML file, as below.")],
    /,
    *,
    lora: Annotated[
        int | None,
        Parameter(
            help="Rank, and alpha, of a LoRA of the teacher, which is trained and written instead of a whole model."
        ),
    ] = None,
    options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULT,
) -> None:
    """Distil the student of a recipe, and print the path of its file."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.distill.recipe import read_distill_recipe

    parsed, flags = options.applied(read_distill_recipe(recipe)), []
    if lora is not None:
        from unnoise.train.adapter_recipe import LoraOptions

        own = replace(parsed.lora or LoraOptions(), rank=lora, alpha=float(lora))
        parsed, flags = replace(parsed, lora=own), ["--lora", str(lora)]
    options.run(["distill", str(recipe), *flags], parsed.name, partial(_distill, parsed))


def _distill(
    recipe: "DistillRecipe", folder: Path, device: "torch.device", resume: bool, report: "ConsoleReport"
) -> Path:
    from unnoise.distill.method_options import PROMPT_FILE
    from unnoise.distill.plain_student import stated_options
    from unnoise.distill.pools import prompt_lines
    from unnoise.distill.train_distill import train_distill

    path = train_distill(recipe, folder, device, resume, report)
    lines = prompt_lines(recipe.data) if recipe.data and recipe.data.source.endswith(PROMPT_FILE) else ()
    prompt = next(iter((*recipe.prompts, *lines)), report.prompt)
    what = [prompt] if prompt else ["-n", "4"]
    how = ["--lora", str(path), "--model", recipe.teacher] if recipe.lora else ["--model", str(path)]
    stated = stated_options(path)
    more = [part for name, value in stated.items() for part in (f"--{name.replace('_', '-')}", value)]
    report.next = shlex.join(["unnoise", "generate", *what, *how, *(more or ["--steps", str(recipe.steps[0])])])
    return path
