"""`unnoise control`: train what follows the outlines of a picture, and draw such outlines."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.train import HERE, TrainOptions

EPILOGUE = """Examples:
  unnoise control train recipes/outline.toml --out runs/outline
  unnoise control outline photo.png -o outline.png
  unnoise generate "a red fish" --control outline --hint outline.png"""

app = App(name="control", help="Follow the outlines of a picture.", help_format="plaintext", help_epilogue=EPILOGUE)


@app.command
def train(
    recipe: Annotated[Path, Parameter(help="A TOML file with [control], such as recipes/outline.toml.")],
    /,
    *,
    run: Annotated[TrainOptions, Parameter(name="*")] = HERE,
) -> None:
    """Train a control from a recipe, and say where its file is."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.train.adapter_recipe import read_adapter_recipe
    from unnoise.train.controlnet import train_control

    plan = read_adapter_recipe(recipe)
    run.through(plan.name, partial(train_control, plan))


@app.command
def outline(
    image: Annotated[str, Parameter(help="Picture whose outlines are drawn.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="PNG file.")] = Path("outline.png"),
) -> None:
    """Draw the outlines of a picture, white on black, as a control of outlines reads them."""
    from unnoise.cli.torch_import import import_torch
    from unnoise.formats.atomic import replacing
    from unnoise.generation.media.image import open_image

    picture = open_image(image)
    import_torch()
    from unnoise.data.outline import outlines
    from unnoise.generation.decode import to_images
    from unnoise.generation.images import image_tensor

    drawn = to_images(outlines(image_tensor(picture)) * 2 - 1)[0]
    with replacing(out) as file:
        drawn.save(file, "PNG")
    print(out)
