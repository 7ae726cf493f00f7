"""`unnoise control`: train a ControlNet on outlines, and draw the outlines of an image."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.processes import processes
from unnoise.cli.train import DEFAULT, TrainOptions

EPILOGUE = """Examples:
  unnoise control train recipes/outline.toml --out runs/outline
  unnoise control outline photo.png -o outline.png
  unnoise generate "a red fish" --control outline --control-image outline.png"""

HELP = "Train a ControlNet, and draw outlines for it."
app = App(name="control", help=HELP, help_format="plaintext", help_epilogue=EPILOGUE)


@app.command
@processes()
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file with [control], such as recipes/outline.toml.")],
    /,
    *,
    options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULT,
) -> None:
    """Train the ControlNet of a recipe, and print the path of its file."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.train.adapter_recipe import read_adapter_recipe
    from unnoise.train.controlnet import train_control

    parsed = options.applied(read_adapter_recipe(recipe))
    options.run(["control", "train", str(recipe)], parsed.name, partial(train_control, parsed))


@app.command
def outline(
    image: Annotated[str, Parameter(help="Image file.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Output PNG file.")] = Path("outline.png"),
) -> None:
    """Draw the outlines of an image, white on black: the input of a ControlNet for outlines."""
    from unnoise.cli.torch_import import import_torch
    from unnoise.formats.atomic import replacing
    from unnoise.formats.pictures import decode, over_white

    opened = over_white(decode(image, f"image {image}"))
    import_torch()
    from unnoise.data.outline import outlines
    from unnoise.generation.decode import to_images
    from unnoise.generation.images import image_tensor

    lines = to_images(outlines(image_tensor(opened)) * 2 - 1)[0]
    with replacing(out) as file:
        lines.save(file, "PNG")
    print(out)
