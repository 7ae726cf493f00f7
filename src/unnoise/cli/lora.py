"""`unnoise lora`: train an adapter, look into one, merge, extract, resize, convert."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.source import Source
from unnoise.cli.train import Report, progress_bar
from unnoise.errors import check_whole

EPILOGUE = """Examples:
  unnoise lora train recipes/ink.toml --out runs/ink
  unnoise generate "ink drawing, a red heart" --lora runs/ink/ink.safetensors
  unnoise generate "ink drawing, a red heart" --lora runs/ink/ink.safetensors:0.6
  unnoise lora info runs/ink/ink.safetensors
  unnoise lora resize runs/ink/ink.safetensors --rank 8 -o ink-8.safetensors
  unnoise lora merge --lora runs/ink/ink.safetensors -o ink-emoji.safetensors"""

HELP = "Train adapters of low rank, and change them."
app = App(name="lora", help=HELP, help_format="plaintext", help_epilogue=EPILOGUE)
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="File that is written.")]
EMOJI = Source()


@app.command
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file with [lora], such as recipes/ink.toml.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder of the run; runs/NAME.")] = None,
    resume: Annotated[bool, Parameter(negative="", help="Go on from the last checkpoint of the folder.")] = False,
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
    threads: Annotated[int | None, Parameter(help="CPU threads; all cores unless given.")] = None,
) -> None:
    """Train an adapter from a recipe, and say where its file is."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    import torch

    from unnoise.files.model_file import known_device
    from unnoise.train.adapter_recipe import read_adapter_recipe
    from unnoise.train.lora import train_lora

    if threads is not None:
        check_whole("threads", threads, 1, 1024)
        torch.set_num_threads(threads)
    plan = read_adapter_recipe(recipe)
    with progress_bar() as bar:
        path = train_lora(plan, out or Path("runs") / plan.name, known_device(device), resume, Report(bar))
    print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
